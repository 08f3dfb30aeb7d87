"""The probe that runs inside an agent container, as the agent's own uid, in one `docker exec`. Standard library only.

It is Perl because perl-base is in every Debian image, starts in a blink under emulation, and makes system calls by
number. It needs no module. It prints rows of tab-separated, percent-escaped fields; the last row is `done`.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from typing import Any, Dict, List

from clawkeep.collector import docker
from clawkeep.collector.recorder import Recorder
from clawkeep_host.agents import name_of

SYSCALLS = {  # unshare, keyctl, bpf, mount, umount2, getpid
    "x86_64": (272, 250, 321, 165, 166, 39),
    "aarch64": (97, 219, 280, 40, 39, 172),
}
PROBE_SECONDS = 45  # the exec is given up after this; a probe on an idle host takes two under emulation

PROBE = r"""
use strict;
$| = 1;
$SIG{PIPE} = "IGNORE";
alarm 40;
my ($nonce, $unshare, $keyctl, $bpf, $mount, $umount, $getpid) = ("@NONCE@", @SYSCALLS@);
my $CREATE = 0301;       # O_WRONLY | O_CREAT | O_EXCL
my ($INET, $INET6, $UNIX, $STREAM, $NONBLOCK, $RAW) = (2, 10, 1, 1, 04000, 3);
my ($EINPROGRESS, $ETIMEDOUT) = (115, 110);

sub row {
  my @fields = map { "$_" } @_;
  s/([^\x21-\x24\x26-\x7e])/sprintf "%%%02X", ord $1/ge for @fields;
  print join("\t", @fields), "\n";
}
sub code { return $_[0] ? 0 : $! + 0 }

row("identity", $<, $>, $(, $));

# File systems by mount point.
my %type;
open(my $info, "<", "/proc/self/mountinfo") or die;
while (<$info>) {
  my ($head, $tail) = split / - /;
  my $at = (split / /, $head)[4];
  $at =~ s/\\(\d{3})/chr oct $1/ge;
  $type{$at} = (split / /, $tail)[0];
}

# One walk over every mount: directories to try, sockets to knock at, canaries that should not be here.
my (@dirs, @sockets, @canaries);
my @find = (
  "find", "/", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o",
  "(", "-type", "d", "-o", "-type", "s", "-o", "-name", $nonce, ")", "-printf", '%y%p\0',
);
open(STDERR, ">", "/dev/null");
if (open(my $walk, "-|", @find)) {
  local $/ = "\0";
  while (<$walk>) {
    chomp;
    my ($kind, $path) = (substr($_, 0, 1), substr($_, 1));
    if ($path =~ m{/\Q$nonce\E$}) { push @canaries, $path }
    elsif ($kind eq "s") { push @sockets, $path }
    else { push @dirs, $path }
  }
  close $walk;
  row("walk", scalar @dirs) if @dirs;
}
row("canary", $_, code(open(my $file, "<", $_))) for @canaries;

# Try to create a file in every directory; below a writable one only where another mount begins.
my (@writable, %refused, @scratch);
for my $dir (@dirs) {
  next if !$type{$dir} && grep { index($dir, $_) == 0 } @writable;
  my $file = ($dir eq "/" ? "" : $dir) . "/.clawkeep-probe-$$";
  if (!sysopen(my $made, $file, $CREATE, 0600)) { $refused{$! + 0}++; next }
  unlink $file;
  row("writable", $dir);
  push @writable, $dir eq "/" ? "/" : "$dir/";
  push @scratch, $dir if ($type{$dir} // "") eq "tmpfs";
}
row("refused", $_, $refused{$_}) for sort keys %refused;

# Scratch space runs no program. That a shell can read the same script is the control experiment.
for my $dir (@scratch) {
  my $file = "$dir/.clawkeep-probe-$$";
  sysopen(my $script, $file, $CREATE, 0700) or next;
  print $script "#!/bin/sh\nexit 0\n";
  close $script;
  my $error = system({ $file } $file) == -1 ? $! + 0 : 0;
  my $read = system("/bin/sh", $file);
  unlink $file;
  row("execute", $dir, $error, $read);
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
my $mounted = syscall($mount, $source, $target, $type, 0, 0) == 0;
row("try", "mount", code($mounted));
syscall($umount, $target, 0) if $mounted;

# getpid is the control experiment of the system calls that seccomp denies.
row("try", "getpid", code(syscall($getpid) == $$));
row("try", "keyctl", code(syscall($keyctl, 0, -3, 0) >= 0));
my $attributes = "\0" x 128;
row("try", "bpf", code(syscall($bpf, 0, $attributes, 72) >= 0));

# Whatever listens on a unix socket: does a container engine answer?
for my $path (@sockets) {
  my ($peer, $text) = (undef, "");
  next if length $path > 100;
  socket($peer, $UNIX, $STREAM, 0);
  if (!connect($peer, pack("S a*", $UNIX, $path . "\0"))) { row("socket", $path, $! + 0, ""); next }
  syswrite($peer, "GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n");
  my $ready = "";
  vec($ready, fileno $peer, 1) = 1;
  sysread($peer, $text, 400) if select($ready, undef, undef, 1) > 0;
  row("socket", $path, 0, $text);
}

# The same over TCP, at every default gateway.
my @gateways;
if (open(my $routes, "<", "/proc/net/route")) {
  while (<$routes>) {
    my @field = split;
    next unless $field[1] eq "00000000" && $field[2] =~ /^[0-9A-F]{8}$/ && $field[2] ne "00000000";
    my $address = pack("N", unpack("V", pack("H8", $field[2])));
    push @gateways, [$INET, join(".", unpack("C4", $address)), $address];
  }
}
if (open(my $routes, "<", "/proc/net/ipv6_route")) {
  while (<$routes>) {
    my @field = split;
    next unless $field[0] eq "0" x 32 && $field[1] eq "00" && $field[4] ne "0" x 32 && $field[9] ne "lo";
    push @gateways, [$INET6, join(":", unpack("(A4)8", $field[4])), pack("H32", $field[4]), $field[9]];
  }
}
my (%pending, $wait);
$wait = "";
for my $gateway (@gateways) {
  my ($family, $name, $address, $device) = @$gateway;
  my $scope = 0;
  if ($device && open(my $index, "<", "/sys/class/net/$device/ifindex")) { $scope = 0 + <$index> }
  for my $port (2375, 2376) {
    socket(my $client, $family, $STREAM | $NONBLOCK, 6) or next;
    my $peer = $family == $INET
      ? pack("S n a4 x8", $INET, $port, $address)
      : pack("S n N a16 L", $INET6, $port, 0, $address, $scope);
    if (connect($client, $peer)) { row("engine-port", $name, $port, 0) }
    elsif ($! != $EINPROGRESS) { row("engine-port", $name, $port, $! + 0) }
    else { $pending{fileno $client} = [$client, $name, $port]; vec($wait, fileno $client, 1) = 1 }
  }
}
my $left = 1;
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
row("try", "unshare", code(syscall($unshare, 0x10000000) == 0));    # CLONE_NEWUSER; last, since it would change us
row("done");
"""


def script(nonce: str) -> str:
    """The probe, made for this machine's system call numbers and for canaries called `nonce`."""
    numbers = SYSCALLS.get(os.uname().machine, SYSCALLS["x86_64"])
    return PROBE.replace("@NONCE@", nonce).replace("@SYSCALLS@", ", ".join(map(str, numbers)))


def rows(text: str) -> List[List[str]]:
    """The rows that the probe printed, unescaped."""
    return [[urllib.parse.unquote(field) for field in line.split("\t")] for line in text.splitlines() if line]


def probe(rec: Recorder, container: str, uid: int, nonce: str) -> Dict[str, Any]:
    """What the probe found in `container`: {"rows": [[kind, field ...]], "error": sentence or None}.

    The name of the canaries is random; rows give the directory in which one was found.
    """
    argv = ["docker", "exec", "-i", "-u", "%d:%d" % (uid, uid), container, "perl", "-"]
    result = rec.run("", argv, stdin=script(nonce), timeout=PROBE_SECONDS, keep=False)
    found = rows(result.text)
    for row in found:
        if row[0] == "canary":
            row[1] = os.path.dirname(row[1])
    error = result.error
    if error is None and ["done"] not in found:
        said = re.sub(r"\s+", " ", result.text.strip())[-200:] if not found else ""
        error = "the probe ended early with status %s%s" % (result.status, ": " + said if said else "")
    return {"rows": found, "error": error}


def collect(rec: Recorder, nonce: str) -> None:
    """Record the probe's findings for every running agent container."""
    uid = docker.service_uid(rec)
    agents = [name_of(one) for one in docker.agents(rec)]
    rec.note("inside-probe", {name: probe(rec, name, uid, nonce) for name in agents})
