package machine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystems are the magic numbers of statfs(2).
var fileSystems = map[int64]string{
	0xef53:     "ext4",
	0x58465342: "xfs",
	0x9123683e: "btrfs",
	0x2fc12fc1: "zfs",
	0x01021994: "tmpfs (an fsync costs nothing)",
	0x794c7630: "overlayfs",
	0x6969:     "nfs",
}

// FileSystem is the kind of file system that dir is on.
func FileSystem(dir string) (string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return "", fmt.Errorf("reading the file system of %s: %w", dir, err)
	}
	magic := int64(stat.Type) // the type differs between architectures
	if name, known := fileSystems[magic]; known {
		return name, nil
	}
	return fmt.Sprintf("type %#x", magic), nil
}
