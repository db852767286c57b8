// Command stub stands in for what runs on a host in the tests of package cell: a small server, a small volume plugin that
// writes down what it is asked, and a process that leaves the control group it was started in.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() {
	verbs := map[string]func(args []string) error{"serve": serve, "get": get, "write": write, "plugin": plugin, "linger": linger}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve answers every request with the host's name.
func serve(args []string) error {
	return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		name, _ := os.Hostname()
		fmt.Fprint(w, name)
	}))
}

func get(args []string) error {
	response, err := (&http.Client{Timeout: 10 * time.Second}).Get(args[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

// write adds a line to a file and prints the whole of it.
func write(args []string) error {
	if err := appendLine(args[0], args[1]); err != nil {
		return err
	}
	content, err := os.ReadFile(args[0])
	fmt.Print(string(content))
	return err
}

func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	return err
}

// plugin keeps volumes as directories of /store and its calls in /state/calls.
func plugin([]string) error {
	if err := appendLine("/state/identity", os.Getenv("HOST")+" "+os.Getenv("BOOT_ID")+" "+os.Getenv("SHARED")); err != nil {
		return err
	}
	child := exec.Command("/stub", "linger")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	listener, err := net.Listen("unix", "/run/docker/plugins/stub.sock")
	if err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(answer))
}

func answer(w http.ResponseWriter, r *http.Request) {
	var request struct{ Name string }
	_ = json.NewDecoder(r.Body).Decode(&request)
	verb := path.Base(r.URL.Path)
	_ = appendLine("/state/calls", verb+" "+request.Name)
	mountPoint := filepath.Join("/mnt/volumes", request.Name)
	reply := map[string]any{"Err": ""}
	var err error
	switch verb {
	case "VolumeDriver.Create":
		err = os.MkdirAll(filepath.Join("/store", request.Name), 0o755)
	case "VolumeDriver.Get":
		_, err = os.Stat(filepath.Join("/store", request.Name))
		reply["Volume"] = map[string]string{"Name": request.Name}
	case "VolumeDriver.List":
		reply["Volumes"] = []any{}
	case "VolumeDriver.Capabilities":
		reply["Capabilities"] = map[string]string{"Scope": "global"}
	case "VolumeDriver.Mount":
		if err = os.MkdirAll(mountPoint, 0o755); err == nil {
			err = syscall.Mount(filepath.Join("/store", request.Name), mountPoint, "", syscall.MS_BIND, "")
		}
		reply["Mountpoint"] = mountPoint
	case "VolumeDriver.Unmount":
		err = syscall.Unmount(mountPoint, 0)
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		reply["Err"] = err.Error()
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// linger leaves its control group for one of its own and counts in /state/count for as long as it runs.
func linger([]string) error {
	group := "/sys/fs/cgroup/freezer/cell-test-" + os.Getenv("BOOT_ID")
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(group+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	for count := 0; ; count++ {
		if err := os.WriteFile("/state/count", []byte(strconv.Itoa(count)), 0o644); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
