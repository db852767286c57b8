package main

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

const (
	driverThatFences = "mooring" // the volume driver of this project
	rexRay           = "rexray"  // a process of that name, or a managed plugin such as rexray/ebs
)

const volumeOptionsForm = "use NAME=VALUE,NAME=VALUE"

// checkVolumes reports everything that is wrong with the options for volumes.
func (c *schedulerCommand) checkVolumes() error {
	given, err := c.parseVolumeOptions()
	errs := []error{err}
	for name, value := range given {
		switch strings.ToLower(name) {
		case "overwritefs":
			if on, err := strconv.ParseBool(value); err != nil || on {
				errs = append(errs, fmt.Errorf("external volume option %s=%s: a new file system at every mount would take all documents with it, leave it out", name, value))
			}
		case "size":
			if _, err := strconv.ParseUint(value, 10, 32); err != nil && c.isRexRay() {
				errs = append(errs, fmt.Errorf("external volume option %s=%s: REX-Ray takes a whole number of GB without a unit, such as size=100", name, value))
			}
		}
	}
	return errors.Join(errs...)
}

// volumeOptions are all options for volumes that the driver has yet to make.
func (c *schedulerCommand) volumeOptions() map[string]string {
	given, _ := c.parseVolumeOptions() // Validate has looked at the error
	return given
}

// parseVolumeOptions brings both ways to give options together.
func (c *schedulerCommand) parseVolumeOptions() (map[string]string, error) {
	if c.VolumeOptions == "" {
		return c.VolumeOption, nil
	}
	all := maps.Clone(c.VolumeOption)
	if all == nil {
		all = map[string]string{}
	}
	var errs []error
	for option := range strings.SplitSeq(c.VolumeOptions, ",") {
		name, value, found := strings.Cut(option, "=")
		before, known := all[name]
		switch {
		case !found || name == "":
			errs = append(errs, fmt.Errorf("external-volume-options: %q is no option, %s", option, volumeOptionsForm))
		case known && before != value:
			errs = append(errs, fmt.Errorf("external-volume-options: %s is given as %q and as %q", name, before, value))
		default:
			all[name] = value
		}
	}
	return all, errors.Join(errs...)
}

// driverName is the driver's name without the tag under which a managed plugin may be installed.
func (c *schedulerCommand) driverName() string {
	name, _, _ := strings.Cut(c.VolumeDriver, ":")
	return name
}

func (c *schedulerCommand) isRexRay() bool {
	owner, _, _ := strings.Cut(c.driverName(), "/")
	return owner == rexRay
}
