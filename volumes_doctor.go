package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"mooring/plugin/admin"
	"mooring/plugin/doctor"
)

// engineTimeout is for one question to the Docker Engine.
const engineTimeout = 10 * time.Second

type examine struct {
	Fix          bool   `help:"Mend what can be mended without any risk." env:"-"`
	DockerHost   string `help:"Docker Engine of this host, whose containers are compared with the volumes; empty: none." env:"DOCKER_HOST" default:"unix:///var/run/docker.sock"`
	VolumeDriver string `help:"What the plugin is called there." default:"mooring"`
}

// errFindings makes the exit status tell scripts that something does not fit.
var errFindings = errors.New("there are findings")

// Run prints what does not fit; that is an error.
func (c *examine) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	ask := group.client().Doctor
	if c.Fix {
		ask = group.client().Fix
	}
	report, err := ask(ctx)
	if err != nil {
		return err
	}
	more, err := c.askEngine(ctx, group.client())
	if err != nil {
		fmt.Fprintln(k.Stderr, "not compared with Docker:", err)
	}
	report.Findings = append(report.Findings, more...)
	err = group.show(k.Stdout, report, func(w io.Writer) { writeReport(w, report) })
	if err == nil && len(report.Findings) > 0 {
		err = errFindings
	}
	return err
}

// askEngine compares the Engine's containers with the volumes, by two looks.
func (c *examine) askEngine(ctx context.Context, driver *admin.Client) ([]doctor.Finding, error) {
	if c.DockerHost == "" {
		return nil, nil
	}
	engine, err := client.New(client.WithHost(c.DockerHost))
	if err != nil {
		return nil, fmt.Errorf("docker host %q: write it as unix:///path or tcp://host:port: %w", c.DockerHost, err)
	}
	defer engine.Close()
	before, err := c.containers(ctx, engine)
	if err != nil {
		return nil, err
	}
	survey, err := driver.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	after, err := c.containers(ctx, engine)
	if err != nil {
		return nil, err
	}
	mounts := map[string]int{}
	for _, v := range survey.Volumes {
		mounts[v.Name] = v.Mounts
	}
	return doctor.InBoth(doctor.ExamineEngine(before, mounts), doctor.ExamineEngine(after, mounts)), nil
}

// containers lists those that ask for volumes of the driver.
func (c *examine) containers(ctx context.Context, engine *client.Client) ([]doctor.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	listed, err := engine.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers at %s: %w", c.DockerHost, err)
	}
	var found []doctor.Container
	for _, one := range listed.Items {
		wanted := doctor.Container{Name: one.ID, Running: one.State == container.StateRunning}
		if len(one.Names) > 0 {
			wanted.Name = strings.TrimPrefix(one.Names[0], "/")
		}
		for _, m := range one.Mounts {
			if m.Type == mount.TypeVolume && c.isOurs(m.Driver) && !slices.Contains(wanted.Volumes, m.Name) {
				wanted.Volumes = append(wanted.Volumes, m.Name)
			}
		}
		if len(wanted.Volumes) > 0 {
			found = append(found, wanted)
		}
	}
	return found, nil
}

// isOurs tells whether a volume driver is this one. The Engine calls a managed plugin by its name and tag.
func (c *examine) isOurs(driver string) bool {
	return strings.TrimSuffix(driver, ":latest") == strings.TrimSuffix(c.VolumeDriver, ":latest")
}

func writeReport(w io.Writer, report admin.Report) {
	for _, r := range report.Repairs {
		outcome := "mended"
		if r.Error != "" {
			outcome = "not mended: " + r.Error
		}
		fmt.Fprintf(w, "%s: %s\n", title(r.Finding), outcome)
	}
	for _, f := range report.Findings {
		fix := f.Fix
		if f.Fixable {
			fix += " (--fix does it)"
		}
		fmt.Fprintf(w, "%s\n  what: %s\n  why it matters: %s\n  fix: %s\n", title(f), f.What, f.Why, fix)
	}
	if len(report.Findings) == 0 {
		fmt.Fprintln(w, "everything fits")
	}
}

func title(f doctor.Finding) string {
	subject := f.Path
	if f.Volume != "" {
		subject = "volume " + f.Volume
	}
	if subject == "" {
		return string(f.Kind)
	}
	return subject + ": " + string(f.Kind)
}
