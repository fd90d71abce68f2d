"""
What containers have as their root: the machine's own file system below a
layer with the product's files, each where the image has it, and a layer of
their own to write on.  So there is one image, and nothing to pull.
"""

import os
import shutil

from . import linux

# file of the tree -> place in the image
FILES = [
    ("build/meshd", "usr/local/bin/meshd"),
    ("build/mesh-agent", "usr/local/bin/mesh-agent"),
    ("build/meshctl", "usr/local/bin/meshctl"),
    ("build/ngx_mesh_module.so", "usr/lib/nginx/modules/ngx_mesh_module.so"),
    ("conf/redirect.nft", "etc/ngx-mesh/redirect.nft"),
    ("conf/transparent.conf", "etc/ngx-mesh/transparent.conf"),
    ("conf/nginx.conf.tmpl", "etc/ngx-mesh/nginx.conf.tmpl"),
]

# of the tree, needed for a cluster with a control plane
PRODUCT = ["build/meshd", "build/mesh-agent", "build/ngx_mesh_module.so",
           "conf/redirect.nft", "conf/transparent.conf"]


HOST = "/.host"            # the machine's root, while a container is made


def missing(tree):
    """Files of the product that are not built yet."""
    return [name for name in PRODUCT
            if not os.path.exists(os.path.join(tree, name))]


def build(layout, extra):
    """Fills the image's layer; extra is a list of SOURCE:PLACE."""
    os.makedirs(layout.image, mode=0o755)

    files = [(os.path.join(layout.tree, source), place)
             for source, place in FILES]
    for word in extra:
        source, _, place = word.partition(":")
        if not os.path.exists(source) or not place:
            raise OSError(f'"{word}": no such file, or no place for it')
        files.append((source, place.lstrip("/")))

    for source, place in files:
        if not os.path.exists(source):
            continue
        target = os.path.join(layout.image, place)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        shutil.copy(source, target)
        os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)


def enter_root(layout, files, mounts):
    """
    Called in a container's new mount namespace: makes its root and goes
    there.  files: place -> text; mounts: list of (source, place, readonly).
    """
    base = layout.rootfs
    linux.mount("tmpfs", base, "tmpfs", 0, "mode=0755")

    for name in ("upper", "work", "root"):
        os.mkdir(os.path.join(base, name), 0o755)

    root = os.path.join(base, "root")
    linux.mount("overlay", root, "overlay", 0,
                f"lowerdir={layout.image}:/,upperdir={base}/upper,"
                f"workdir={base}/work")

    _system_mounts(root)

    old = os.path.join(root, HOST[1:])
    os.mkdir(old, 0o700)
    linux.pivot_root(root, old)
    os.chdir("/")

    # from here on, symbolic links lead where they do in the container

    for place, text in files.items():
        if os.path.lexists(place):
            os.unlink(place)
        with open(place, "w", encoding="utf-8") as stream:
            stream.write(text)

    for source, place, readonly in mounts:
        source = HOST + source
        _mount_point(source, place)
        linux.bind(source, place, readonly)

    linux.umount(HOST)
    os.rmdir(HOST)


def _system_mounts(root):
    linux.mount("proc", root + "/proc", "proc")
    linux.bind("/sys", root + "/sys", readonly=True)
    linux.bind("/dev", root + "/dev", recursive=True)
    linux.mount("tmpfs", root + "/dev/shm", "tmpfs",
                linux.MS_NOSUID | linux.MS_NODEV, "mode=1777")
    linux.mount("tmpfs", root + "/run", "tmpfs",
                linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
    linux.mount("tmpfs", root + "/tmp", "tmpfs",
                linux.MS_NOSUID | linux.MS_NODEV, "mode=1777,size=256m")


def _mount_point(source, target):
    if os.path.isdir(source):
        os.makedirs(target, mode=0o755, exist_ok=True)
        return

    if not os.path.exists(source):
        raise OSError(f"{source}: no such file or directory")

    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    if not os.path.exists(target):
        with open(target, "w", encoding="ascii"):
            pass
