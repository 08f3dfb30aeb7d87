"""CTR-08: The running image is the pinned digest from an allowed registry."""

import pytest

from clawkeep.site.inventory import Site
from clawkeep.subjects.containers.containers import Containers

pytestmark = pytest.mark.control("CTR-08")


def test_the_running_image_is_a_locked_one(containers: Containers, site: Site) -> None:
    assert containers.of_other_images(identity for image in site.images for identity in image.ids) == []


def test_the_image_was_named_by_its_content(containers: Containers) -> None:
    assert containers.without_content_address() == []


def test_the_image_comes_from_a_locked_repository(containers: Containers, site: Site) -> None:
    assert containers.from_other_repositories(image.name for image in site.images) == []
