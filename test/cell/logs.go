package cell

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeepLogs copies what the programs of the cell in dir have written to another directory, replacing what is there: logs of
// master, agents, engines and schedulers, and the output of executors.
func KeepLogs(dir, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // a cell that runs may remove files meanwhile
		}
		inside, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "docker" || inside == "store"):
			return filepath.SkipDir // data of engines and volumes
		case !entry.Type().IsRegular() || !isLog(entry.Name()):
			return nil
		}
		return copyFile(path, filepath.Join(to, inside))
	})
	if err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	return nil
}

func isLog(name string) bool {
	return strings.HasSuffix(name, ".log") || name == "log" || name == "stdout" || name == "stderr"
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}
