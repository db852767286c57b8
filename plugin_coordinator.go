package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/hashicorp/go-hclog"
	"go.yaml.in/yaml/v3"

	"mooring/internal/ensemble"
	"mooring/plugin/beside"
	"mooring/scheduler"
)

const (
	// statePath is where coordinators keep what they must remember, in the ensemble where masters announce themselves.
	statePath = "/mooring"
	// schedulerMemory is many times what a scheduler takes for 10,000 agents.
	schedulerMemory = 1 << 30
	masterSetting   = "MESOS_MASTER"
)

// alone are options that make no sense for one of many schedulers that are started again and again, with the reason.
var alone = map[string]string{
	"state-dir":     "the plugins' schedulers keep their state in ZooKeeper",
	"new-framework": "it would be said at each start; run `mooring scheduler --new-framework` once by hand, with this file as --options",
}

// coordination is what a plugin needs to know to be a coordinator, too.
type coordination struct {
	Master   string // where the Mesos masters are, MESOS_MASTER; "": the plugin is no coordinator
	File     string // with all other options of the scheduler
	Beats    string // where the driver's heartbeats are, as --heartbeats
	LogLevel string
	Log      hclog.Logger
}

// program is the scheduler that is run beside the driver.
func (c coordination) program(binary string) *beside.Program {
	return beside.New(beside.Options{
		Name: "scheduler", Command: []string{binary, "--log-level=" + c.LogLevel, "scheduler", "--options=-"},
		Input: c.rereading(), Memory: schedulerMemory, Log: c.Log,
	})
}

// rereading gives the scheduler's options file. It works only when the host's has changed: it is asked all the time.
func (c coordination) rereading() func() ([]byte, error) {
	var seen string
	var options []byte
	wrong := errors.New("not read yet")
	return func() ([]byte, error) {
		text, err := readOptionsText(c.File)
		if now := fmt.Sprintf("%s %v", text, err); now != seen {
			seen = now
			options, wrong = c.complete(text, err)
		}
		return options, wrong
	}
}

// complete makes the options file for the scheduler out of that of the host, or of why there is none. The error is all that is wrong.
func (c coordination) complete(text []byte, unread error) ([]byte, error) {
	var line commandLine
	parser, err := kong.New(&line, commonOptions()...)
	if err != nil {
		return nil, err
	}
	command := parser.Model.Children[slices.IndexFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == "scheduler" })]
	values, wrong := c.read(command, text, unread)
	wrong = append(wrong, c.fillIn(values)...)
	if err := check(command, &line.Scheduler, values); len(wrong) == 0 { // else what it finds may come from what is left out
		wrong.add(err)
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("this host is no coordinator: %w", wrong)
	}
	if s := line.Scheduler; s.Heartbeats == "" && s.driverName() == driverThatFences && s.fencing() { // of others its heartbeats say nothing
		values["heartbeats"] = c.Beats
	}
	return yaml.Marshal(values)
}

// read returns what the host's file says.
func (c coordination) read(command *kong.Node, text []byte, err error) (map[string]any, mistakes) {
	if os.IsNotExist(err) {
		return map[string]any{}, mistakes{fmt.Sprintf("%s is missing: it says at least `image: elasticsearch:8.19.5`, or which image it shall be", c.File)}
	}
	if err != nil {
		return map[string]any{}, mistakes{err.Error()}
	}
	values, found := readOptions(text, command)
	inDirectory(values, filepath.Dir(c.File))
	if values["image"] == nil && !slices.ContainsFunc(found, func(m string) bool { return strings.Contains(m, ": image: ") }) {
		found = append(found, "image is missing: add a line such as `image: elasticsearch:8.19.5`")
	}
	for name, why := range alone {
		if values[name] != nil {
			found = append(found, fmt.Sprintf("option %s: leave it out: %s", name, why))
		}
	}
	slices.Sort(found)
	var wrong mistakes
	for _, mistake := range found {
		wrong = append(wrong, c.File+": "+mistake)
	}
	return values, wrong
}

// fillIn adds what the file leaves out.
func (c coordination) fillIn(values map[string]any) (wrong mistakes) {
	if values["master"] == nil {
		values["master"] = []any{c.Master}
	}
	if err := scheduler.CheckMasters([]string{c.Master}, false); err != nil {
		wrong = append(wrong, masterSetting+": "+strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	masters := values["master"].([]any)
	if values["zookeeper"] == nil && len(masters) == 1 {
		if path, err := ensemble.Beside(masters[0].(string), statePath); err == nil {
			values["zookeeper"] = path
		}
	}
	if values["zookeeper"] == nil && len(wrong) == 0 {
		wrong = append(wrong, fmt.Sprintf("%s names masters, not their place in ZooKeeper, where the coordinators meet: give zk://z1:2181,z2:2181/mesos, or add `zookeeper: zk://…` to %s",
			masterSetting, c.File))
	}
	if values["advertise"] == nil {
		values["advertise"] = advertiseAuto
	}
	return wrong
}

// check has the scheduler's command look whether its options fit together.
func check(command *kong.Node, scheduler *schedulerCommand, values map[string]any) error {
	for _, flag := range command.Flags {
		err := flag.Reset()
		if value, given := values[flag.Name]; given && err == nil {
			into, decodeErr := decodeOption(flag, value)
			flag.Apply(into)
			err = decodeErr
		}
		if err != nil {
			return err
		}
	}
	return scheduler.Validate()
}
