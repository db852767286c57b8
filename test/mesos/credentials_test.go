package mesos_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
// do. Once the right one is in its file it is registered, without a restart, and the secret is in nothing that anybody sees.
func TestStoryAMasterAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "mooring")
	built, err := exec.Command("go", "build", "-o", program, "../..").CombinedOutput()
	require.NoError(t, err, "%s", built)
	known := secretFile(t, `{"credentials":[{"principal":"mooring","secret":"`+canary+`"}]}`)
	master, address := freeAddress(t), freeAddress(t)
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
