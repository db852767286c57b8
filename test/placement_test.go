package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/test/cell"
	"mooring/test/demo"
	"mooring/test/deploy"
	"mooring/test/ledger"
)

const someDocuments = 5000

func packages(t *testing.T, count int) []ledger.Document {
	t.Helper()
	all, err := ledger.Packages(t.Context())
	require.NoError(t, err)
	return all[:min(count, len(all))]
}

// write puts documents into an index without replicas: what one node loses is lost.
func write(t *testing.T, d *deploy.Deployment, shards int) *ledger.Ledger {
	t.Helper()
	l := ledger.New(d.Client(), d.HTTPAddresses, "single")
	require.NoError(t, l.Create(within(t), shards, 0))
	require.NoError(t, l.WriteAll(within(t), packages(t, someDocuments), 500))
	return l
}

func audit(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	account, err := l.Audit(within(t))
	require.NoError(t, err)
	assert.Equal(t, ledger.Account{Acknowledged: someDocuments, Found: someDocuments, ChecksumOK: true}, account)
}

// A host dies under load; its node comes back on another host with its volumes, and no acknowledged document is lost, through
// crashes of scheduler and master and the return of the host.
func TestStoryAHostDiesAndItsNodeComesBack(t *testing.T) {
	d := deployed(t, deploy.Options{Framework: "death", Image: elasticsearch8, Nodes: 3})
	report, err := demo.Run(t.Context(), shared, demo.Options{Deployment: d, Documents: packages(t, someDocuments), Say: t.Logf})
	require.NoError(t, err)
	assert.Equal(t, report.Documents.Acknowledged, report.Documents.Found)
	assert.True(t, report.Documents.ChecksumOK)
	assert.Equal(t, []string{"death3config", "death3data"}, report.Nodes[2].Volumes)
	assert.Equal(t, []string{"dir", "image"}, report.Nodes[2].Backends)
	assert.NotEqual(t, report.Nodes[2].HostBefore, report.Nodes[2].HostAfter)
}

// Elasticsearch 7 forms a cluster, and a node of it that lost its host comes back with its documents.
func TestStoryElasticsearch7ComesBackToo(t *testing.T) {
	ctx := within(t)
	d := deployed(t, deploy.Options{Framework: "seven", Image: elasticsearch7, Nodes: 3})
	nodes, err := d.AwaitNodes(ctx, 3)
	require.NoError(t, err)
	l := write(t, d, 3)
	require.NoError(t, host(t, nodes[1].Place.Host).Kill(ctx))
	require.NoError(t, d.AwaitRelaunch(ctx, nodes[1]))
	require.NoError(t, d.AwaitCluster(ctx, 3, "green"))
	audit(t, l)
}

// single is a framework of one node that holds documents.
type single struct {
	*deploy.Deployment
	node   deploy.Node
	host   *cell.Host
	ledger *ledger.Ledger
}

func singleNode(t *testing.T, o deploy.Options) single {
	t.Helper()
	return singleNodeIn(t, shared, o)
}

func singleNodeIn(t *testing.T, c *cell.Cell, o deploy.Options) single {
	t.Helper()
	o.Image, o.Nodes = elasticsearch8, 1
	d := deployedIn(t, c, o)
	nodes, err := d.AwaitNodes(within(t), 1)
	require.NoError(t, err)
	h, err := c.At(nodes[0].Place.Host)
	require.NoError(t, err)
	return single{Deployment: d, node: nodes[0], host: h, ledger: write(t, d, 1)}
}

func (s single) restartAgent(t *testing.T) {
	t.Helper()
	require.NoError(t, errors.Join(s.host.KillAgent(within(t)), s.host.StartAgent(within(t))))
}

// cameBack checks that the node was launched again and has its documents.
func (s single) cameBack(t *testing.T) {
	t.Helper()
	require.NoError(t, s.AwaitRelaunch(within(t), s.node))
	require.NoError(t, s.AwaitCluster(within(t), 1, "green"))
	audit(t, s.ledger)
}

// A Mesos agent restarts; the node on it, run by an executor under the Mesos containerizer, does not notice, and its executor
// is still at the scheduler's command. That is so whether the agent has the Docker containerizer, too, which looks through the
// engine's containers then, or has not.
func TestStoryAnAgentRestartDoesNotTouchItsNode(t *testing.T) {
	for i, containerizers := range []string{"docker,mesos", "mesos"} {
		t.Run(containerizers, func(t *testing.T) {
			h := shared.Hosts[i]
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), storyLimit)
				defer cancel()
				require.NoError(t, h.Become(ctx, cell.AgentOptions{}))
			})
			require.NoError(t, h.Become(within(t), cell.AgentOptions{Attributes: "chosen:yes", Containerizers: containerizers}))
			s := singleNode(t, deploy.Options{Framework: fmt.Sprintf("agent%c", 'a'+i), Flags: []string{"--require=chosen=yes"}})
			require.Same(t, h, s.host)
			before, err := s.Containers(within(t), s.host, "--quiet")
			require.NoError(t, err)
			s.restartAgent(t)
			audit(t, s.ledger)
			after, err := s.Containers(within(t), s.host, "--quiet")
			require.NoError(t, err)
			assert.Equal(t, before, after)

			require.NoError(t, s.Order(within(t), 1, "restart"))
			s.cameBack(t)
		})
	}
}

// Under the Docker containerizer the executor is in the node's container, which Mesos ends when its agent restarts: the node is
// launched again under its ID, with its documents.
func TestStoryTheDockerContainerizerRelaunchesOnTheSameVolumes(t *testing.T) {
	s := singleNode(t, deploy.Options{Framework: "docker", Flags: []string{"--containerizer=docker"}})
	s.restartAgent(t)
	s.cameBack(t)
}

// An executor is killed; its container goes on, nobody is told whether it lives. The node is launched again on its host, where
// the new executor ends what is left, and has its documents.
func TestStoryAnExecutorIsKilledUnderItsNode(t *testing.T) {
	s := singleNode(t, deploy.Options{Framework: "orphan"})
	kill, err := s.host.Command(within(t), "pkill", "--signal", "KILL", "--full", "mooring executor")
	require.NoError(t, err)
	require.NoError(t, kill.Run())
	s.cameBack(t)
	require.NoError(t, s.OneCopyEach(within(t), 1))
}

// A host is cut off while it goes on writing: its volumes stay its own, and its node is given to nobody else who could write
// them, until it is back. An operator is told who holds what, also while the node waits and has no host.
func TestStoryACutHostKeepsItsVolumes(t *testing.T) {
	ctx := within(t)
	d := deployed(t, deploy.Options{Framework: "cut", Image: elasticsearch8, Nodes: 3, Flags: []string{"--heartbeats=" + shared.Store}})
	nodes, err := d.AwaitNodes(ctx, 3)
	require.NoError(t, err)
	l := write(t, d, 3)
	h := host(t, nodes[2].Place.Host)
	require.NoError(t, h.Cut(ctx))
	await(t, "the holder to be named", func() error {
		now, err := d.Nodes(ctx)
		if err == nil && !strings.Contains(now[2].Problem, "held by host "+h.Name) {
			err = fmt.Errorf("node 3 is %+v", now[2])
		}
		return err
	})
	assert.Contains(t, docker(t, h, "ps", "--filter", "label=mooring.framework=cut", "--format", "{{.Names}}"), "cut-3")
	told := awaitStatus(t, d, "VOLUME ")
	assert.Regexp(t, `\ncut3data +3 +100g +`+h.Name+` +1 +held\n`, told)
	assert.Regexp(t, `\ncut3config +3 +- +`+h.Name+` +1 +held\n`, told)
	assert.NotContains(t, told, "told")
	require.NoError(t, h.Join(ctx))
	require.NoError(t, d.AwaitRelaunch(ctx, nodes[2]))
	require.NoError(t, d.AwaitCluster(ctx, 3, "green"))
	await(t, "one writer", func() error { return d.OneCopyEach(ctx, 3) })
	audit(t, l)
}

// What keeps a node from running is said in words, tried again later and later, and does not run away.
func TestStoryAReasonIsGivenForEveryWait(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		image string
		says  string
	}{
		"driver": {[]string{"--external-volume-driver=nosuch"}, elasticsearch8, "nosuch"},
		"image":  {nil, "nosuch:1", "nosuch:1"},
		// Here Docker's own words are in the executor's sandbox only. The engine looks for a missing driver for 15 s.
		"dockerdriver": {[]string{"--containerizer=docker", "--external-volume-driver=nosuch"}, elasticsearch8, "container launch failed: Failed to launch container: Container exited with status 125"},
		"dockerimage":  {[]string{"--containerizer=docker"}, "nosuch:1", "pull nosuch:1"},
		"memory":       {[]string{"--memory=100000"}, elasticsearch8, "4 with less than 100000 MB of memory"},
		"cpus":         {[]string{"--cpus=64"}, elasticsearch8, "4 with less than 64 CPUs"},
		"require":      {[]string{"--require=disk=fast"}, elasticsearch8, "4 without attribute disk:fast"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			d := deployed(t, deploy.Options{Framework: "wait" + name, Image: c.image, Nodes: 1, Flags: c.flags})
			await(t, "the reason", func() error {
				nodes, err := d.Nodes(ctx)
				if err == nil && !strings.Contains(nodes[0].Waits+nodes[0].Problem, c.says) {
					err = fmt.Errorf("node 1 is %+v", nodes[0])
				}
				return err
			})
		})
	}
}

// An operator scales up; the new node has the next ID and volumes of its own. Orders that make no sense are refused.
func TestStoryAnOperatorScales(t *testing.T) {
	ctx := within(t)
	s := singleNode(t, deploy.Options{Framework: "scale"})
	require.NoError(t, s.Scale(ctx, 2))
	nodes, err := s.AwaitNodes(ctx, 2)
	require.NoError(t, err)
	assert.Equal(t, []string{"scale2config", "scale2data"}, nodes[1].Volumes)
	require.NoError(t, s.AwaitCluster(ctx, 2, "green"))
	audit(t, s.ledger)
	require.Error(t, s.Scale(ctx, 0))
	require.Error(t, s.Order(ctx, 1, "explode"))
	require.Error(t, s.Order(ctx, 99, "restart"))
}
