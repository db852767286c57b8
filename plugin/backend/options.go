package backend

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mountFlags are the options of mount(8) that every file system has.
func mountFlags() map[string]uintptr {
	return map[string]uintptr{
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
		"lazytime": unix.MS_LAZYTIME, "nodev": unix.MS_NODEV, "nosuid": unix.MS_NOSUID, "noexec": unix.MS_NOEXEC,
	}
}

// tuning is what may be chosen of a file system. Other options could cost what was acknowledged, such as nobarrier, or belong to the
// driver, such as the UUID.
type tuning struct {
	mount, make      *regexp.Regexp // one option; of make with its value
	mounting, making string         // the same for people
}

func tunings() map[string]tuning {
	return map[string]tuning{
		Ext4: {
			mount:    regexp.MustCompile(`^(commit=[0-9]+|stripe=[0-9]+|nodelalloc|data=(ordered|journal)|nodiscard)$`),
			make:     regexp.MustCompile(`^(-i [0-9]+|-I [0-9]+|-N [0-9]+|-J (size|fast_commit_size)=[0-9]+|-O fast_commit)$`),
			mounting: "commit=N, stripe=N, nodelalloc, data=ordered, data=journal, nodiscard",
			making:   "-i N, -I N, -N N, -J size=N, -J fast_commit_size=N, -O fast_commit",
		},
		XFS: {
			mount:    regexp.MustCompile(`^(logbsize=[0-9]+k?|logbufs=[0-9]+|allocsize=[0-9]+[kmg]?|largeio|swalloc|inode32|inode64)$`),
			make:     regexp.MustCompile(`^(-i (size|maxpct)=[0-9]+|-l size=[0-9]+[kmg]?|-n size=[0-9]+k?|-d agcount=[0-9]+|-m (reflink|rmapbt)=[01])$`),
			mounting: "logbsize=N, logbufs=N, allocsize=N, largeio, swalloc, inode32, inode64",
			making:   "-i size=N, -i maxpct=N, -l size=N, -n size=N, -d agcount=N, -m reflink=0, -m rmapbt=0",
		},
	}
}

// CheckMkfs tells whether mkfs of that file system may be given options, separated by spaces.
func CheckMkfs(fs, options string) error {
	_, err := mkfsArgs(fs, options)
	return err
}

// CheckMount tells whether that file system may be mounted with options, separated by commas.
func CheckMount(fs, options string) error {
	_, _, err := mountArgs(fs, options)
	return err
}

// mkfsArgs are the words of options, each option with its value.
func mkfsArgs(fs, options string) ([]string, error) {
	tuning, known := tunings()[fs]
	if !known {
		return nil, CheckImage(fs, math.MaxInt64)
	}
	words := strings.Fields(options)
	for pair := range slices.Chunk(words, 2) {
		if one := strings.Join(pair, " "); !tuning.make.MatchString(one) {
			return nil, fmt.Errorf("mkfs option %q cannot be chosen for %s: use %s", one, fs, tuning.making)
		}
	}
	return words, nil
}

// mountArgs are the flags among options, and the file system's own.
func mountArgs(fs, options string) (flags uintptr, own []string, err error) {
	tuning, known := tunings()[fs]
	if !known {
		return 0, nil, CheckImage(fs, math.MaxInt64)
	}
	for option := range strings.SplitSeq(options, ",") {
		flag, general := mountFlags()[option]
		switch {
		case options == "":
		case general:
			flags |= flag
		case tuning.mount.MatchString(option):
			own = append(own, option)
		default:
			return 0, nil, fmt.Errorf("mount option %q cannot be chosen for %s: use noatime, nodiratime, relatime, strictatime, lazytime, "+
				"nodev, nosuid, noexec, %s", option, fs, tuning.mounting)
		}
	}
	return flags, own, nil
}
