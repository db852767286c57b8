package mesos_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/ports"
	"mooring/test/zookeeper"
)

// canary is a secret that must never be seen.
const canary = "canary-secret"

func secretFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

// A real master that wants to know who asks gets no framework without a secret, and none with a wrong one; the scheduler says what to
// do. Once the right one is in its file it is registered, without a restart, and the secret is not in what the scheduler keeps.
func TestStoryAMasterAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "mooring")
	built, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput()
	require.NoError(t, err, "%s", built)
	known := secretFile(t, `{"credentials":[{"principal":"mooring","secret":"`+canary+`"}]}`)
	master, address := ports.Free(t), ports.Free(t)
	host, port, _ := strings.Cut(master, ":")
	run(t, "master", filepath.Join(programs, "mesos-master"), "--ip="+host, "--port="+port, "--hostname="+host, "--work_dir="+t.TempDir(), "--quorum=1", "--registry=in_memory",
		"--authenticate_http_frameworks", "--http_framework_authenticators=basic", "--credentials="+known)

	state := t.TempDir()
	args := []string{"scheduler", "--master=" + master, "--listen=" + address, "--image=elasticsearch:8.19.5", "--executor-path=/usr/bin/mooring", "--state-dir=" + state}
	kill := run(t, "scheduler", program, args...)
	awaitProblem(t, address, "401 Unauthorized, it wants to know who asks: give --principal and --secret-file")
	kill()

	secret := secretFile(t, canary+"-of-last-year\n")
	run(t, "scheduler", program, append(args, "--principal=mooring", "--secret-file="+secret, "--log-level=trace")...)
	awaitProblem(t, address, `401 Unauthorized, it does not know principal "mooring" with this secret`)
	require.NoError(t, os.WriteFile(secret, []byte(canary+"\n"), 0o600))
	c := awaitCluster(t, address, "a subscription", func(c said) bool { return c.Master == master })
	ids, err := connected(master)
	require.NoError(t, err)
	assert.Equal(t, []string{c.FrameworkID}, ids)
	kept, err := os.ReadFile(filepath.Join(state, "state.db"))
	require.NoError(t, err)
	assert.Contains(t, string(kept), c.FrameworkID)
	assert.NotContains(t, string(kept), canary)
}

// awaitProblem waits until a scheduler says what is wrong.
func awaitProblem(t *testing.T, scheduler, says string) {
	t.Helper()
	eventually(t, "a problem is told", func() error {
		var status struct {
			Problems []struct{ What string } `json:"problems"`
		}
		if err := ask("http://"+scheduler+"/v1/status", &status); err != nil {
			return err
		}
		if len(status.Problems) == 0 || !strings.Contains(status.Problems[0].What, says) {
			return fmt.Errorf("it says %+v", status)
		}
		return nil
	})
}

// Every secret that a scheduler is given, those that it has to refuse among them, is in nothing that it shows: its log at the finest
// level, its command line, its API, its errors, and what Mesos tells of it. What it keeps in ZooKeeper nobody else reads.
func TestStoryASecretIsSeenNowhere(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "mooring")
	built, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput()
	require.NoError(t, err, "%s", built)
	keeper := zookeeper.Run(t)
	known := secretFile(t, `{"credentials":[{"principal":"mooring","secret":"`+canary+`"}]}`)
	master, address := ports.Free(t), ports.Free(t)
	host, port, _ := strings.Cut(master, ":")
	run(t, "master", filepath.Join(programs, "mesos-master"), "--ip="+host, "--port="+port, "--hostname="+host, "--work_dir="+t.TempDir(), "--quorum=1",
		"--registry=in_memory", "--authenticate_http_frameworks", "--http_framework_authenticators=basic", "--credentials="+known)

	secret, token := secretFile(t, canary+"-of-last-year"), secretFile(t, canary+"-token")
	d := newDaemon(t, "scheduler", program, "--log-level=trace", "scheduler", "--master="+master, "--listen="+address, "--image=elasticsearch:8.19.5",
		"--executor-path=/usr/bin/mooring", "--principal=mooring", "--secret-file="+secret, "--api-read-file="+token, "--api-write-file="+token,
		"--zookeeper=zk://@"+secretFile(t, "mooring:"+canary+"-keeper")+"@"+keeper.Address+"/mooring",
		"--setting=xpack.some.password="+canary, "--external-volume-option=accessKey="+canary)
	d.start()
	operate := func(order ...string) (string, error) {
		said, err := exec.Command(program, append(order, "--scheduler=http://"+address, "--token-file="+token)...).CombinedOutput()
		return string(said), err
	}
	var shown []string
	eventually(t, "the old secret is refused", func() error {
		said, _ := operate("status")
		if shown = append(shown, said); !strings.Contains(said, "does not know principal") {
			return errors.New(said)
		}
		return nil
	})
	require.NoError(t, os.WriteFile(secret, []byte(canary), 0o600))
	eventually(t, "the right one is not", func() error {
		said, _ := operate("status")
		if shown = append(shown, said); !strings.Contains(said, "at Mesos master "+master) {
			return errors.New(said)
		}
		return nil
	})
	said, err := operate("scale", "4")
	require.NoError(t, err, said)
	for _, path := range []string{"/v1/cluster", "/v1/tasks", "/v1/nodes", "/v1/status", "/v1/nodes/x", "/metrics", "/readyz", "/healthz"} {
		for _, user := range []string{canary + "-token", canary + "-wrong", ""} {
			answer, err := exec.Command("curl", "--silent", "--include", "--oauth2-bearer", user, "http://"+address+path).CombinedOutput()
			require.NoError(t, err, "%s", answer)
			shown = append(shown, string(answer))
		}
	}
	state, err := exec.Command("curl", "--silent", "http://"+master+"/master/state").Output()
	require.NoError(t, err)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.cmd.Process.Pid))
	require.NoError(t, err)
	log, err := os.ReadFile(d.log)
	require.NoError(t, err)
	require.Contains(t, string(log), "401 Unauthorized")
	kept := zookeeper.Closed(t, keeper, "/mooring", "mooring", canary+"-keeper")
	require.Contains(t, kept, "/mooring/elasticsearch/header")

	given := []string{"--setting=xpack.some.password=" + canary, "--external-volume-option=accessKey=" + canary} // by the operator, in the open
	rest := string(line)
	for _, g := range given {
		rest = strings.Replace(rest, g, "", 1)
	}
	for _, text := range append(shown, said, string(state), rest, string(log), strings.Join(kept, " ")) {
		assert.NotContains(t, text, canary)
	}
}
