package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"mooring/plugin/durable"
	"mooring/plugin/lease"
)

// Files in the host's state directory.
const (
	lockFile   = "guard.lock"
	socketFile = "guard.sock"
	reportFile = "guard.json"
	logFile    = "guard.log"
	logLimit   = 4 << 20
)

// record is the report file: what the next guard and the plugin must know if this guard is killed.
type record struct {
	Format int      `json:"format"`
	Boot   string   `json:"boot"`
	Fenced []Report `json:"fenced"`
}

// readRecord returns what an earlier guard of this boot fenced. After a reboot nobody has anything.
func readRecord(dir, boot string) ([]Report, error) {
	path := filepath.Join(dir, reportFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last guard's report: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil || r.Format != format {
		return nil, fmt.Errorf("the last guard's report %s is unreadable or of another version: once no container here uses a volume, delete that file", path)
	}
	if r.Boot != boot {
		return nil, nil
	}
	return r.Fenced, nil
}

// keeper writes what the next guard must know without making this one wait for the disk: the newest wins.
type keeper struct {
	dir, boot string
	failed    func(error)
	newest    chan kept
	saved     bool
	reports   []Report // as last written, if they were
}

type kept struct {
	pulse  lease.Pulse
	fenced []Report
}

func newKeeper(host Host, failed func(error)) *keeper {
	return &keeper{dir: host.StateDir, boot: host.Boot, failed: failed, newest: make(chan kept, 1)}
}

// keep hands over what is to be written, in place of what was not written yet. One caller at a time.
func (k *keeper) keep(p lease.Pulse, fenced []Report) {
	select {
	case <-k.newest:
	default:
	}
	k.newest <- kept{p, fenced}
}

// run writes until the channel is closed.
func (k *keeper) run() {
	for newest := range k.newest {
		if err := errors.Join(savePulse(k.dir, newest.pulse), k.saveReports(newest.fenced)); err != nil {
			k.failed(err)
		}
	}
}

func (k *keeper) saveReports(fenced []Report) error {
	if k.saved && reflect.DeepEqual(fenced, k.reports) {
		return nil
	}
	data, err := json.Marshal(record{format, k.boot, fenced})
	if err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(k.dir, reportFile), append(data, '\n')); err != nil {
		return err
	}
	k.saved, k.reports = true, fenced
	return nil
}

// patientWriter is a log that never makes its writer wait: what the disk does not take in time is lost.
type patientWriter struct{ lines chan []byte }

func (w patientWriter) Write(line []byte) (int, error) {
	select {
	case w.lines <- slices.Clone(line):
	default:
	}
	return len(line), nil
}

// openLog opens the log, anew if it has become long.
func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, logFile)
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}
