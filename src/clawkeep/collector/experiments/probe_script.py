"""The probe's text: Perl, which begins as the agent's own uid inside a container and ends there. Standard library only.

It is Perl because perl-base is in every Debian image, starts in a blink under emulation, and makes system calls by
number. It needs no module beyond `strict`, and no other program to look for it: what it starts belongs to the agent.
"""

from __future__ import annotations

import os
import secrets
from typing import Dict

GATEWAY_SECONDS = 1.0  # for the ports of an engine behind the gateways, all of them together

SYSCALLS = {
    "x86_64": {
        **{"bpf": 321, "close": 3, "getdents64": 217, "getpid": 39, "keyctl": 250, "mount": 165, "openat": 257},
        **{"prctl": 157, "umount2": 166, "unlinkat": 263, "unshare": 272, "write": 1},
    },
    "aarch64": {
        **{"bpf": 280, "close": 57, "getdents64": 61, "getpid": 172, "keyctl": 219, "mount": 40, "openat": 56},
        **{"prctl": 167, "umount2": 39, "unlinkat": 35, "unshare": 97, "write": 64},
    },
}
# Undumpable before anything else, and the number of seconds that it lives, whatever becomes of the collector.
BOOT = r"""
BEGIN { syscall(@prctl@, 4, 0, 0, 0, 0) == 0 or exit 97 }    # PR_SET_DUMPABLE, 0
alarm 44;
pipe(IN, KEPT) && pipe(HELD, OUT) or exit 98;
read(IN, $size, 8) == 8 && read(IN, $program, $size) == $size or exit 99;
eval $program;
"""

PROBE = r"""
use strict;
select(OUT);
$| = 1;
$SIG{PIPE} = "IGNORE";
open(STDERR, ">", "/dev/null");
my ($token, $nonce, $root) = ("@token@", "@nonce@", "@root@");
my $file = ".clawkeep-probe-@secret@";    # a name that nobody can take before us
my ($HERE, $FOLDER, $PIN) = (-100, @folder@, @pin@);
my $CREATE = 02000301;   # O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
my ($INET, $INET6, $UNIX, $STREAM, $NONBLOCK, $RAW) = (2, 10, 1, 1, 04000, 3);
my ($EACCES, $EAGAIN, $EINPROGRESS, $ETIMEDOUT) = (13, 11, 115, 110);
my %closed = map { $_ => 1 } 1, 2, 13, 20, 40;    # EPERM ENOENT EACCES ENOTDIR ELOOP: there is no way in for the agent
my $DEEPEST = 500;       # each folder on the way costs a descriptor
my $AT_ONCE = 200;       # sockets that are asked at the same time

my $number = 0;
sub row {
  my @fields = map { "$_" } @_;
  s/([^\x21-\x24\x26-\x7e])/sprintf "%%%02X", ord $1/ge for @fields;
  print join("\t", $token, ++$number, @fields), "\n";
}
sub code { return $_[0] ? 0 : $! + 0 }
sub quit { row("error", "$_[0]: $!"); exit 1 }
sub openat { my ($folder, $name, $flags, $mode) = @_; return syscall(@openat@, $folder, "$name", $flags, $mode || 0) }
sub shut { syscall(@close@, $_[0]) }

row("identity", $<, $>, $(, $));

# File systems by mount point.
my %type;
open(my $info, "<", "/proc/self/mountinfo") or quit("its mounts cannot be read");
while (<$info>) {
  my ($head, $tail) = split / - /;
  my $at = (split / /, $head)[4];
  $at =~ s/\\(\d{3})/chr oct $1/ge;
  $type{$at} = (split / /, $tail)[0];
}

# Whatever listens on a unix socket: does a container engine answer? All are asked before the first is waited for.
my @asked;
sub ask {
  my ($folder, $name, $path) = @_;
  my $pin = openat($folder, $name, $PIN);
  return if $pin < 0;                                # it has gone
  socket(my $peer, $UNIX, $STREAM | $NONBLOCK, 0) or quit("a socket cannot be made");
  my $error = code(connect($peer, pack("S a*", $UNIX, "/proc/self/fd/$pin\0")));    # a path of any length
  shut($pin);
  if ($error) { row("socket", $path, $error, ""); return }
  syswrite($peer, "GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n");
  push @asked, [$peer, $path];
  hear() if @asked >= $AT_ONCE;
}
sub hear {
  my %left = map { fileno($_->[0]) => $_ } @asked;
  my $rest = 1;
  while (%left && $rest > 0) {
    my $ready = "";
    vec($ready, $_, 1) = 1 for keys %left;
    (my $count, $rest) = select($ready, undef, undef, $rest);
    last if $count <= 0;
    for my $handle (grep { vec($ready, $_, 1) } keys %left) {
      my ($peer, $path) = @{ delete $left{$handle} };
      my $text = "";
      sysread($peer, $text, 400);
      row("socket", $path, 0, $text);
    }
  }
  row("socket", $_->[1], 0, "") for values %left;
  @asked = ();
}

# Can a file be made in a directory? Whose own it is can open it to himself, so that its mode is no obstacle.
sub writes {
  my ($folder, $name) = @_;    # the directory is `name` in `folder`
  my $path = "$name/$file";
  my $made = openat($folder, $path, $CREATE, 0600);
  if ($made >= 0) { shut($made); syscall(@unlinkat@, $folder, $path, 0); return 0 }
  my $error = $! + 0;
  if ($error == $EACCES) {
    my $place = "/proc/self/fd/$folder/$name";
    my @status = lstat($place);
    return 0 if @status && $status[4] == $> && chmod($status[2] & 07777, $place);
  }
  return $error;
}

# One walk over every mount: directories to try, sockets to ask, canaries that should not be here. It goes from
# descriptor to descriptor, so that no path is too long for it, and no other program walks in its place.
my ($seen, %refused, @scratch, @way) = (0);
sub enter {
  my ($parent, $name, $path, $below) = @_;
  my $place = $path eq "" ? "/" : $path;
  my $folder = openat($parent, $name, $FOLDER);
  quit("$place cannot be entered") if $folder < 0 && !$closed{$! + 0};
  $seen++;
  if ($type{$place} || !$below) {    # below a writable one only where another mount begins
    my $error = $folder < 0 ? writes($parent, $name) : writes($folder, ".");
    $below = $error == 0;
    if ($error) { $refused{$error}++ }
    else {
      row("writable", $place);
      push @scratch, $place if ($type{$place} // "") eq "tmpfs";
    }
  }
  return if $folder < 0;
  quit("$place lies too deep") if @way >= $DEEPEST;
  my @folders;
  my $buffer = "\0" x 65536;
  while ((my $size = syscall(@getdents64@, $folder, $buffer, 65536)) != 0) {
    if ($size < 0) { last if $closed{$! + 0}; quit("$place cannot be listed") }
    for (my $at = 0; $at < $size;) {
      my ($length, $kind) = unpack("SC", substr($buffer, $at + 16, 3));
      my $entry = unpack("Z*", substr($buffer, $at + 19, $length - 19));
      $at += $length;
      next if $entry eq "." || $entry eq "..";
      if ($kind == 0) {    # this file system does not say
        lstat("/proc/self/fd/$folder/$entry");
        $kind = -d _ ? 4 : -S _ ? 12 : 8;
      }
      if ($entry eq $nonce) {
        my $canary = openat($folder, $entry, 02004000);    # O_RDONLY | O_NONBLOCK | O_CLOEXEC
        row("canary", "$path/$entry", $canary < 0 ? $! + 0 : 0);
        shut($canary) if $canary >= 0;
      }
      elsif ($kind == 12) { ask($folder, $entry, "$path/$entry") }
      elsif ($kind == 4 && "$path/$entry" ne "/proc" && "$path/$entry" ne "/sys") { push @folders, $entry }
    }
  }
  push @way, [$folder, $path, $below, \@folders];
}
enter($HERE, $root eq "" ? "/" : $root, $root, 0);
while (@way) {
  my ($folder, $path, $below, $folders) = @{ $way[-1] };
  if (@$folders) { my $name = shift @$folders; enter($folder, $name, "$path/$name", $below) }
  else { shut($folder); pop @way }
}
hear();
row("walk", $seen);
row("refused", $_, $refused{$_}) for sort keys %refused;

# Scratch space runs no program. That a shell can read the same script is the control experiment. The script has no
# name, by which somebody else could change it, write to it or take its place.
for my $place (@scratch) {
  my $text = "#!/bin/sh\nexit 0\n";
  my $made = openat($HERE, $place, @nameless@, 0700);
  my $whole = $made >= 0 && syscall(@write@, $made, $text, length $text) == length $text;
  if (!$whole) { row("execute", $place, $! + 0, 1); next }
  my $script = openat($HERE, "/proc/self/fd/$made", 0);
  shut($made);
  my $status = system { "/proc/self/fd/$script" } "script";
  my $error = $status == -1 ? $! + 0 : $status == 0 ? 0 : 4;    # EINTR: somebody ended it
  my $read = system("/bin/sh", "/proc/self/fd/$script");
  shut($script);
  row("execute", $place, $error, $read);
}

# Ordinary TCP works; raw packets and mounts do not.
sub tcp {
  my ($listener, $client);
  socket($listener, $INET, $STREAM, 6) or return 0;
  bind($listener, pack("S n a4 x8", $INET, 0, "\x7f\0\0\1")) && listen($listener, 1) or return 0;
  return socket($client, $INET, $STREAM, 6) && connect($client, getsockname($listener));
}
row("try", "tcp", code(tcp()));
row("try", "raw-socket", code(socket(my $raw, $INET, $RAW, 1)));
my ($source, $target, $type) = ("none", "/tmp", "tmpfs");
my $mounted = syscall(@mount@, $source, $target, $type, 0, 0) == 0;
row("try", "mount", code($mounted));
syscall(@umount2@, $target, 0) if $mounted;

# getpid is the control experiment of the system calls that seccomp denies.
row("try", "getpid", code(syscall(@getpid@) == $$));
row("try", "keyctl", code(syscall(@keyctl@, 0, -3, 0) >= 0));
my $attributes = "\0" x 128;
row("try", "bpf", code(syscall(@bpf@, 0, $attributes, 72) >= 0));

# Whether an engine answers over TCP, at every default gateway.
my %gateways;
if (open(my $routes, "<", "/proc/net/route")) {
  while (<$routes>) {
    my @field = split;
    next unless $field[1] eq "00000000" && $field[2] =~ /^[0-9A-F]{8}$/ && $field[2] ne "00000000";
    my $address = pack("N", unpack("V", pack("H8", $field[2])));
    my $name = join(".", unpack("C4", $address));
    $gateways{$name} = [$INET, $address];
  }
}
else { quit("its routes cannot be read") }
if (open(my $routes, "<", "/proc/net/ipv6_route")) {
  while (<$routes>) {
    my @field = split;
    next unless $field[0] eq "0" x 32 && $field[1] eq "00" && $field[4] ne "0" x 32 && $field[9] ne "lo";
    my $name = join(":", unpack("(A4)8", $field[4])) . ($field[4] =~ /^fe[89ab]/ ? "%$field[9]" : "");
    $gateways{$name} = [$INET6, pack("H32", $field[4]), $field[9]];
  }
}
elsif ($! + 0 != 2) { quit("its routes cannot be read") }
my (%pending, $wait);
$wait = "";
for my $name (sort keys %gateways) {
  my ($family, $address, $device) = @{ $gateways{$name} };
  my $scope = 0;
  if ($device && open(my $index, "<", "/sys/class/net/$device/ifindex")) { $scope = 0 + <$index> }
  for my $port (2375, 2376) {
    socket(my $client, $family, $STREAM | $NONBLOCK, 6) or do { row("engine-port", $name, $port, $! + 0); next };
    my $peer = $family == $INET
      ? pack("S n a4 x8", $INET, $port, $address)
      : pack("S n N a16 L", $INET6, $port, 0, $address, $scope);
    if (connect($client, $peer)) { row("engine-port", $name, $port, 0) }
    elsif ($! != $EINPROGRESS) { row("engine-port", $name, $port, $! + 0) }
    else { $pending{fileno $client} = [$client, $name, $port]; vec($wait, fileno $client, 1) = 1 }
  }
}
my $left = @patience@;
while (%pending && $left > 0) {
  (my $count, $left) = select(undef, my $ready = $wait, undef, $left);
  last if $count <= 0;
  for my $number (keys %pending) {
    next unless vec($ready, $number, 1);
    my ($client, $name, $port) = @{ delete $pending{$number} };
    row("engine-port", $name, $port, unpack("i", getsockopt($client, 1, 4)));    # SOL_SOCKET, SO_ERROR
    vec($wait, $number, 1) = 0;
  }
}
row("engine-port", $_->[1], $_->[2], $ETIMEDOUT) for values %pending;

my $config = $ENV{OPENCLAW_CONFIG_PATH};
row("readable", $config, code(open(my $reading, "<", $config))) if $config;
row("try", "unshare", code(syscall(@unshare@, 0x10000000) == 0));    # CLONE_NEWUSER; last, since it would change us
row("done");
"""


def filled(text: str, **values: object) -> str:
    """A Perl text with this machine's numbers of system calls and flags, and further `values`, in place of `@NAME@`."""
    known: Dict[str, object] = dict(SYSCALLS.get(os.uname().machine, SYSCALLS["x86_64"]))
    known["folder"] = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    known["pin"] = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    known["nameless"] = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    for name, value in {**known, **values}.items():
        text = text.replace("@%s@" % name, str(value))
    return text


def script(nonce: str, token: str, root: str = "") -> str:
    """The probe for canaries called `nonce`; its walk begins at `root` (empty: at the very root)."""
    return filled(PROBE, nonce=nonce, token=token, root=root, secret=secrets.token_hex(8), patience=GATEWAY_SECONDS)
