package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"mooring/plugin/admin"
)

// volumesCommand gives orders to the volume driver that runs on this host, as a managed plugin or a process.
type volumesCommand struct {
	StateDir string `help:"The driver's state directory, as this host sees it. Default: /var/lib." default:"/var/lib" placeholder:"DIR"`
	JSON     bool   `help:"Print JSON." name:"json" env:"-"`

	List      listVolumes    `cmd:"" name:"ls" help:"List the volumes."`
	Inspect   inspectVolume  `cmd:"" help:"Show everything about a volume: its lease, its containers on this host, where it is."`
	Remove    removeVolume   `cmd:"" name:"rm" help:"Remove a volume for all hosts, also one that Docker does not know. It can be restored for a while."`
	Trash     listTrash      `cmd:"" help:"List the removed volumes that can be restored."`
	Restore   restoreVolume  `cmd:"" help:"Bring a removed volume back."`
	Grow      growVolume     `cmd:"" help:"Make an image larger, without stopping its containers."`
	Snapshot  snapshotVolume `cmd:"" help:"Keep what an image is now under a name, without stopping its containers."`
	Snapshots listSnapshots  `cmd:"" help:"List the snapshots of a volume."`
	Clone     cloneVolume    `cmd:"" help:"Make a new volume with the content of another or of a snapshot."`
	Fsck      checkVolume    `cmd:"" help:"Let the file system's own checker look at an image that nobody has mounted."`
	Drain     drainHost      `cmd:"" help:"Make this host refuse new mounts, and list what it still holds."`
	Takeover  takeOver       `cmd:"" help:"Take a volume from a host that is known to be dead, so that any host can mount it."`
	Gone      hostGone       `cmd:"" help:"Take all volumes from a host that is gone for good, so that any host can mount them."`
	Doctor    examine        `cmd:"" help:"Explain everything that does not fit between record, store, kernel and Docker."`
}

func (c *volumesCommand) client() *admin.Client { return admin.NewClient(c.StateDir) }

// show prints an answer as JSON or as text for people.
func (c *volumesCommand) show(out io.Writer, answer any, text func(io.Writer)) error {
	return show(out, c.JSON, answer, text)
}

type listVolumes struct{}

// Run prints a table.
func (*listVolumes) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	survey, err := group.client().Volumes(ctx)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, survey, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tSTATE\tHOLDER\tEPOCH\tMOUNTS\tCLASS\tBACKEND\tSIZE\tERROR")
		for _, v := range survey.Volumes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", v.Name, v.State, orDash(holder(v)), orDash(epoch(v.Epoch)), v.Mounts,
				v.Class, v.Backend, orDash(size(v.Size)), v.LastError)
		}
		if !survey.Drained.IsZero() {
			fmt.Fprintf(w, "host %s is drained since %s: new mounts are refused\n", survey.Host, clock(survey.Drained))
		}
		if survey.Store != "ok" {
			fmt.Fprintln(w, "store: "+survey.Store)
		}
		if survey.Classes != "" {
			fmt.Fprintln(w, "classes: "+survey.Classes)
		}
		if survey.Metrics != "" {
			fmt.Fprintln(w, "metrics: "+survey.Metrics)
		}
		if survey.Coordinator != "" {
			fmt.Fprintln(w, "coordinator: "+survey.Coordinator)
		}
	})
}

// holder is who may write a volume now.
func holder(v admin.Volume) string {
	if v.Lease == "released" {
		return ""
	}
	return v.Holder
}

func epoch(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// size is a number of bytes in the largest unit that keeps it whole.
func size(n int64) string {
	if n == 0 {
		return ""
	}
	units := []string{"", "k", "m", "g", "t"}
	unit := 0
	for n%1024 == 0 && unit+1 < len(units) {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprint(n, units[unit])
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type inspectVolume struct {
	Name string `arg:"" help:"The volume."`
}

// Run prints one line for each thing known.
func (c *inspectVolume) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	v, err := group.client().Inspect(ctx, c.Name)
	if err != nil {
		return err
	}
	return group.show(k.Stdout, v, func(w io.Writer) {
		for _, row := range [][2]string{
			{"name", v.Name}, {"id", v.ID}, {"class", v.Class}, {"backend", v.Backend}, {"size", size(v.Size)},
			{"owner", fmt.Sprintf("%d:%d", v.UID, v.GID)}, {"mode", v.Mode}, {"takeover", v.Takeover}, {"created", v.Created.Format("2006-01-02 15:04:05 MST")},
			{"used", map[bool]string{true: "yes", false: "never mounted"}[v.Used]}, {"in the store", v.Path}, {"image", v.Image}, {"device", deviceOf(v)}, {"state", v.State},
			{"lease", leaseOf(v)}, {"mounted at", v.Mountpoint}, {"mounts", mountsOf(v)},
			{"containers", strings.Join(v.Containers, "; ")}, {"last error", v.LastError}, {"problem", v.Problem},
		} {
			if row[1] != "" {
				fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
			}
		}
	})
}

func deviceOf(v admin.Detail) string {
	if v.Buffered {
		return v.Device + ", without direct I/O: the store takes none, so the volume's data is cached twice"
	}
	return v.Device
}

func leaseOf(v admin.Detail) string {
	if v.Epoch == 0 {
		return "none"
	}
	text := fmt.Sprintf("%s by %s, epoch %d", v.Lease, v.Holder, v.Epoch)
	if v.Unguarded && v.Lease != "released" {
		text += ", unguarded"
	}
	if v.Silent != "" && v.Lease != "released" {
		text += fmt.Sprintf(", heartbeat %s ago", v.Silent)
	}
	return text
}

func mountsOf(v admin.Detail) string {
	var mounts []string
	for _, id := range slices.Sorted(maps.Keys(v.MountIDs)) {
		mounts = append(mounts, fmt.Sprintf("%s (%d)", id, v.MountIDs[id]))
	}
	return strings.Join(mounts, ", ")
}

type takeOver struct {
	Name        string `arg:"" help:"The volume."`
	Reason      string `help:"Why; it is logged." placeholder:"TEXT" env:"-"`
	Force       bool   `help:"Say that nothing on the holder writes to the volume any more. It cannot be undone." env:"-"`
	From        string `help:"Take it from this host only. Default: whichever holds it." placeholder:"HOST" env:"-"`
	EvenIfAlive bool   `help:"Do it although the holder's heartbeat moves." env:"-"`
}

// Run takes over.
func (c *takeOver) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	taken, err := group.client().TakeOver(ctx, c.Name, admin.Order{Reason: c.Reason, Force: c.Force, From: c.From, EvenIfAlive: c.EvenIfAlive})
	if err != nil {
		return err
	}
	return group.show(k.Stdout, taken, func(w io.Writer) { writeTaken(w, taken) })
}

func writeTaken(w io.Writer, t admin.Taken) {
	fmt.Fprintf(w, "taken over %s from host %s (epoch %d): it is free under epoch %d, any host can mount it\n", t.Volume, t.From, t.FromEpoch, t.Epoch)
}

type hostGone struct {
	Host        string `arg:"" help:"The host, as leases name it."`
	Reason      string `help:"Why it is gone; it is logged." placeholder:"TEXT" env:"-"`
	EvenIfAlive bool   `help:"Do it although the host's heartbeat moves." env:"-"`
}

// errLeft makes the exit status tell scripts that not all is free.
var errLeft = errors.New("not all of the host's volumes were taken over")

// Run takes over what the host held; it is an error if something is left.
func (c *hostGone) Run(ctx context.Context, group *volumesCommand, k *kong.Context) error {
	gone, err := group.client().Gone(ctx, c.Host, admin.GoneOrder{Reason: c.Reason, EvenIfAlive: c.EvenIfAlive})
	if err != nil {
		return err
	}
	err = group.show(k.Stdout, gone, func(w io.Writer) {
		for _, t := range gone.Taken {
			writeTaken(w, t)
		}
		for _, l := range gone.Left {
			fmt.Fprintf(w, "left %s: %s\n", l.Volume, l.Error)
		}
		if len(gone.Taken)+len(gone.Left) == 0 {
			fmt.Fprintf(w, "host %s holds no volume\n", gone.Host)
		}
	})
	if err == nil && len(gone.Left) > 0 {
		err = errLeft
	}
	return err
}
