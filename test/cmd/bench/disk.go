package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"mooring/plugin/backend"
	"mooring/plugin/loop"
)

const (
	diskRounds = 7 // each job in each place, in turn, so that a slow moment of the disk hits all places alike
	imageSize  = 8 << 30
	deviceSize = 128 << 20 // what the random jobs need
)

// diskJob is one way of reading or writing, in the words of fio.
type diskJob struct {
	name string
	args string
	aim  float64 // least share of what a plain directory does
}

// Fresh blocks are those that the image's file does not have yet.
var diskJobs = []diskJob{
	{"sequential write", "--rw=write --bs=1m --size=256m --end_fsync=1", 0.9},
	{"4k random read, past the page cache", "--rw=randread --bs=4k --direct=1 --size=128m --time_based --runtime=2", 0.9},
	{"4k random read, past the page cache, 16 at once", "--rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=16 --size=128m --time_based --runtime=2", 0.9},
	{"4k random write, fsync each", "--rw=randwrite --bs=4k --fsync=1 --size=128m --time_based --runtime=2", 0.6},
	{"4k random write, fdatasync each", "--rw=randwrite --bs=4k --fdatasync=1 --size=128m --time_based --runtime=2", 0.6},
	{"4k append, fdatasync each", "--rw=write --bs=4k --fdatasync=1 --size=8m", 0.6},
}

// place is a directory to write to, or a device.
type place struct {
	name   string
	dir    string
	device string // set if it is one, without a file system: what no image on such a device can surpass
}

// diskFigures compares images with a plain directory of the same store by fio.
func diskFigures(ctx context.Context) (figures []Figure, err error) {
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(*dir, "disk-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	places := []place{{name: "directory", dir: filepath.Join(root, "plain")}}
	if err := os.Mkdir(places[0].dir, 0o700); err != nil {
		return nil, err
	}
	images := backend.Image{Boot: "bench"}
	for _, fs := range []string{backend.Ext4, backend.XFS} {
		target, err := mountedImage(ctx, images, root, fs)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, images.Unmount(context.WithoutCancel(ctx), target)) }()
		places = append(places, place{name: "image " + fs, dir: target})
	}
	device, err := writtenDevice(root)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	places = append(places, place{name: "loop device without a file system", device: device.Path()})
	for _, job := range diskJobs {
		more, err := job.compare(ctx, places)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// writtenDevice is a loop device whose file has all its blocks.
func writtenDevice(root string) (*loop.Device, error) {
	file, err := os.Create(filepath.Join(root, "device"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Write(make([]byte, deviceSize)); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	return loop.Attach(file, "mooring bench")
}

// mountedImage is the mount point of a new image below root.
func mountedImage(ctx context.Context, images backend.Image, root, fs string) (string, error) {
	v := backend.Spec{Dir: filepath.Join(root, "volumes", fs), Kind: backend.KindImage, FS: fs, Size: imageSize, Mode: 0o700}
	target := filepath.Join(root, "mounts", fs)
	if err := errors.Join(os.MkdirAll(v.Dir, 0o700), os.MkdirAll(filepath.Dir(target), 0o700)); err != nil {
		return "", err
	}
	if err := images.Provision(ctx, v); err != nil {
		return "", err
	}
	return target, images.Mount(ctx, v, target)
}

// compare runs the job in each place, round by round. The ratio is the median of the rounds' ratios: what disturbs a whole
// round is in both.
func (j diskJob) compare(ctx context.Context, places []place) ([]Figure, error) {
	if j.writesNewFile() {
		places = slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.device != "" })
	}
	rates := make([][]float64, len(places))
	for range diskRounds {
		for i, p := range places {
			rate, err := j.run(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("%s in %s: %w", j.name, p.name, err)
			}
			rates[i] = append(rates[i], rate)
		}
	}
	var figures []Figure
	for i, p := range places[1:] {
		ratios := make([]float64, diskRounds)
		for round := range ratios {
			ratios[round] = rates[i+1][round] / rates[0][round]
		}
		f := against(fmt.Sprintf("%s: %s / directory", j.name, p.name), "MB/s", median(rates[i+1]), median(rates[0]),
			fmt.Sprintf(">= %.1f", j.aim), func(float64) bool { return median(ratios) >= j.aim })
		if p.device != "" {
			f.Aim = "" // it only tells what an image could do at best
		}
		f.Ratio = median(ratios)
		f.Spread = []float64{slices.Min(ratios), slices.Max(ratios)}
		figures = append(figures, f)
	}
	return figures, nil
}

func (j diskJob) writesNewFile() bool { return strings.Contains(j.args, "--rw=write") }

// run is the job's rate in MB/s. Random jobs lay their file out in the first round and find it there later; what is written
// from the beginning is written to a new file.
func (j diskJob) run(ctx context.Context, p place) (float64, error) {
	file := filepath.Join(p.dir, "random")
	switch {
	case p.device != "":
		file = p.device
	case j.writesNewFile():
		file = filepath.Join(p.dir, "sequential")
		defer os.Remove(file)
	}
	args := append(strings.Fields(j.args), "--name=job", "--filename="+file, "--output-format=json")
	out, err := exec.CommandContext(ctx, "fio", args...).Output()
	if err != nil {
		return 0, fmt.Errorf("fio (test/prepare --only bench installs it): %w", err)
	}
	type side struct {
		Rate float64 `json:"bw_bytes"`
	}
	var report struct {
		Jobs []struct{ Read, Write side } `json:"jobs"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return 0, fmt.Errorf("read what fio says: %w", err)
	}
	if len(report.Jobs) != 1 || report.Jobs[0].Read.Rate+report.Jobs[0].Write.Rate == 0 {
		return 0, fmt.Errorf("fio reports no job: %.300s", out)
	}
	return (report.Jobs[0].Read.Rate + report.Jobs[0].Write.Rate) / 1e6, nil
}
