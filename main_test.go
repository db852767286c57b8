package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/plugin/lease"
)

// parse reads a command line as main does.
func parse(t *testing.T, args ...string) (commandLine, error) {
	t.Helper()
	var line commandLine
	parser, err := kong.New(&line, options()...)
	require.NoError(t, err)
	_, err = parser.Parse(args)
	return line, err
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := parse(t, "scheduler", "--master=ftp://m,m1:5050,nohost", "--image=", "--framework=es1", "--failover=0", "--executor-path=mooring", "--driver-state-dir=lib", "--role=/", "--nodes=0", "--cpus=0.1",
		"--memory=1000", "--heap=600", "--listen=nowhere", "--setting=node.name=x", "--java-option=-Xmx1g", "--data-path=data")
	for _, says := range []string{
		`master "ftp://m": scheme "ftp" is not known here, use host:port`,
		`master "nohost": use host:port`,
		`framework name "es1" ends in a digit`,
		`failover timeout 0s: use at least 1m`,
		`executor path "mooring": use an absolute path`,
		`state directory of the volume driver "lib": use an absolute path`,
		`role "/"`,
		`no image given: use that of Elasticsearch`,
		`nodes 0: use at least 1`,
		`cpus 0.1: use at least 0.2`,
		`heap of 600 MB does not fit into 1000 MB of memory`,
		`listen "nowhere": use host:port`,
		`setting "node.name" of Elasticsearch is made by Mooring itself`,
		`option "-Xmx1g" for Java`,
		`data-path "data": use an absolute path`,
	} {
		assert.ErrorContains(t, err, says)
	}
}

func TestTheJavaFrameworksOptionNamesAreKnown(t *testing.T) {
	line, err := parse(t, "scheduler", "--master=m:5050", "--elasticsearchDockerImage=e", "--elasticsearchNodes=5", "--elasticsearchCpu=2",
		"--elasticsearchRam=4096", "--frameworkName=logs", "--frameworkRole=es", "--elasticsearchClusterName=c", "--externalVolumeDriver=rexray",
		"--externalVolumeOptions=size=5,newFsType=xfs", "--webUiPort=8080", "--frameworkFailoverTimeout=2592000")
	require.NoError(t, err)
	assert.Equal(t, ":8080", line.Scheduler.Listen)
	o, err := line.Scheduler.options(hclog.NewNullLogger())
	require.NoError(t, err)
	assert.Equal(t, 30*24*time.Hour, o.FailoverTimeout, "seconds, as it was in truth")
	rules := line.Scheduler.rules()
	assert.Equal(t, []any{"e", 5, int64(2000), int64(4096), "logs", []string{"es"}, "c", "rexray"}, []any{
		rules.Settings.Image, line.Scheduler.Nodes, rules.CPUs, rules.MemoryMB, line.Scheduler.Framework, line.Scheduler.Role,
		rules.Settings.Cluster, rules.Settings.Driver,
	})
	assert.Equal(t, map[string]string{"size": "5", "newFsType": "xfs"}, rules.Settings.DriverOptions)
	assert.False(t, rules.Fencing, "another driver is not trusted to refuse a second writer")
}

func TestTimesAndPortsWithoutUnit(t *testing.T) {
	for text, want := range map[string]time.Duration{"672h": 672 * time.Hour, "90": 90 * time.Second, "90.5": 90500 * time.Millisecond} {
		line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--failover="+text)
		require.NoError(t, err)
		assert.Equal(t, want, time.Duration(line.Scheduler.Failover))
	}
	for _, text := range []string{"forever", "-5", "-5h", "1e300", "NaN", "Inf", ""} {
		_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--failover="+text)
		assert.ErrorContains(t, err, fmt.Sprintf("failover %q: use a time such as 672h, or a number of seconds", text))
	}
	for text, says := range map[string]string{"70000": `listen "70000": use host:port or :port`, "-1": `listen "-1": use host:port or :port`} {
		_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--listen="+text)
		assert.ErrorContains(t, err, says)
	}
	line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--listen=8080", "--advertise=h:8080")
	require.NoError(t, err)
	assert.Equal(t, ":8080", line.Scheduler.Listen)
}

func TestGroupsComeFromAFile(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "groups.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return "--groups=" + path
	}
	read := func(args ...string) (commandLine, error) {
		return parse(t, append([]string{"scheduler", "--master=m:5050", "--image=e", "--role=*", "--role=hot"}, args...)...)
	}
	line, err := read("--nodes=0", "--cpus=2", file("groups: [{name: masters, nodes: 3, roles: [master], mesos-role: hot}, {name: data, nodes: 2, roles: [data]}]"))
	require.NoError(t, err)
	rules := line.Scheduler.rules()
	require.Len(t, rules.Groups, 2)
	assert.Equal(t, []any{"masters", 3, int64(2000), "hot", false, true}, []any{
		rules.Groups[0].Name, rules.Groups[0].Nodes, rules.Groups[0].CPUs, rules.Groups[0].Role, rules.Groups[0].NeverMaster, rules.Groups[1].NeverMaster,
	})
	assert.Equal(t, []string{"*", "hot"}, rules.Roles)
	for says, args := range map[string][]string{
		"groups: open /nowhere: no such file":                          {"--groups=/nowhere"},
		"line 1: name \"Masters\": use a lower-case letter":            {file("groups: [{name: Masters, nodes: 1}]")},
		"nodes 0: use at least 1":                                      {"--nodes=0"},
		"groups: no node can be elected master":                        {"--nodes=0", file("groups: [{name: data, nodes: 1, roles: [data]}]")},
		"no cluster would come of them":                                {"--setting=node.roles=data"},
		`constraint "rack = 1" is not understood: use "rack is r1,r2"`: {"--constraint=rack = 1"},
		`role "a b": leave out blanks`:                                 {"--role=a b"},
	} {
		_, err := read(args...)
		assert.ErrorContains(t, err, says)
	}
	line, err = read("--constraint=rack is a,b", "--constraint=at most 1 per @zone", "--setting=node.roles=master,data")
	require.NoError(t, err)
	assert.Len(t, line.Scheduler.rules().Constraints, 2)
	assert.False(t, line.Scheduler.rules().NeverMaster)
}

func TestMastersAreGivenInSeveralForms(t *testing.T) {
	for name, args := range map[string][]string{
		"list":      {"--master=m1:5050,m2:5050"},
		"one each":  {"--master=m1:5050", "--master=m2:5050"},
		"ZooKeeper": {"--master=zk://me:a,b@z1:2181,z2:2181/mesos"},
		"old name":  {"--zookeeperMesosUrl=zk://z1:2181,z2:2181/mesos"},
	} {
		_, err := parse(t, append([]string{"scheduler", "--image=e"}, args...)...)
		require.NoError(t, err, name)
	}
}

func TestTheAddressOfTheStateIsChecked(t *testing.T) {
	for address, says := range map[string]string{
		"zk://me:hush@z1:2181":  `zookeeper: address of ZooKeeper: its path "/" is not one such as /mooring`,
		"me:hush@z1:2181/path":  "zookeeper: address of ZooKeeper: it does not begin with zk://",
		"zk://hush@z1:2181/x/y": "before the @ there is no user:password",
	} {
		_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--zookeeper="+address)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "hush")
	}
	t.Setenv("MOORING_ZOOKEEPER", "zk://me:hush@z1:2181,z2:2181/mooring")
	line, err := parse(t, "scheduler", "--master=m:5050", "--image=e")
	require.NoError(t, err)
	assert.Equal(t, "zk://me:hush@z1:2181,z2:2181/mooring", line.Scheduler.Zookeeper)
	line, err = parse(t, "scheduler", "--master=m:5050", "--image=e", "--zookeeperFrameworkUrl=zk://z3/mooring")
	require.NoError(t, err)
	assert.Equal(t, "zk://z3/mooring", line.Scheduler.Zookeeper, "the name of it in the Java framework")
}

func TestOnlyOurDriverFences(t *testing.T) {
	for driver, fences := range map[string]bool{"mooring": true, "mooring:latest": true, "rexray": false, "mooring2": false} {
		line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-driver="+driver)
		require.NoError(t, err)
		assert.Equal(t, fences, line.Scheduler.rules().Fencing, driver)
	}
	line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-driver=san", "--fencing=true")
	require.NoError(t, err)
	assert.True(t, line.Scheduler.rules().Fencing)
}

func TestSettingsComeFromTheEnvironment(t *testing.T) {
	t.Setenv("MOORING_MASTER", "m:5050")
	t.Setenv("MOORING_IMAGE", "e")
	t.Setenv("MOORING_SETTING", "a.b=1,2;c.d=3")
	t.Setenv("HOST", "h1")
	line, err := parse(t, "scheduler")
	require.NoError(t, err)
	assert.Equal(t, []string{"m:5050"}, line.Scheduler.Master)
	line, err = parse(t, "plugin")
	require.NoError(t, err)
	assert.Equal(t, "h1", line.Plugin.Host)
}

func TestAdvertisedAddress(t *testing.T) {
	for _, c := range []struct{ listen, advertise, want string }{
		{"10.0.0.1:31100", "", "10.0.0.1:31100"},
		{"10.0.0.1:31100", "lb:80", "lb:80"},
		{"api.example.org:31100", "", "api.example.org:31100"},
	} {
		got, err := (&schedulerCommand{Listen: c.listen, Advertise: c.advertise}).advertised()
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	_, err := (&schedulerCommand{Listen: ":31100", Advertise: "auto", Zookeeper: "zk://127.0.0.1/mooring"}).advertised()
	require.ErrorContains(t, err, "127.0.0.1:2181 is on this host's loopback; set --advertise instead")
	_, err = parse(t, "scheduler", "--master=m:5050", "--image=e", "--advertise=auto")
	require.ErrorContains(t, err, "advertise auto: it needs --zookeeper; use host:port")
	for _, all := range []string{":31100", "0.0.0.0:31100", "[::]:31100"} {
		got, err := (&schedulerCommand{Listen: all}).advertised()
		require.NoError(t, err)
		assert.NotContains(t, []string{":31100", "0.0.0.0:31100", "[::]:31100"}, got, "agents could not reach it")
	}
}

func TestHeartbeatsAreLookedForWhereTheDriverHasThem(t *testing.T) {
	for where, says := range map[string]string{
		"mnt/shared":   "heartbeats: use an absolute path",
		"files":        "heartbeats: use an absolute path",
		"zk://z1:2181": `heartbeats: address of ZooKeeper: its path "/" is not one such as /mooring`,
		"http://x/y":   "heartbeats: address of ZooKeeper: it does not begin with zk://",
	} {
		_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--heartbeats="+where)
		require.ErrorContains(t, err, says)
	}
	for _, where := range []string{"/mnt/shared", "zk://me:secret@z1:2181,z2/mooring"} {
		line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--executor-path=/mooring", "--heartbeats="+where)
		require.NoError(t, err)
		o, err := line.Scheduler.options(hclog.NewNullLogger())
		require.NoError(t, err)
		first := o.Heartbeats()
		assert.NotSame(t, first, o.Heartbeats(), "each begins to watch anew")
		assert.NotNil(t, line.Scheduler.leases, "they are shown")
	}
	_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--heartbeats=/mnt/shared", "--external-volume-driver=rexray")
	require.ErrorContains(t, err, "volumes of driver rexray need not refuse a second writer")
}

// They say what is believed of leases that say nothing themselves.
func TestOfTakeoverInZooKeeperTheOptionsAreBelieved(t *testing.T) {
	for option, policy := range map[string]lease.Policy{"manual": lease.Manual, "never": lease.Never, "auto": lease.Auto, "nonsense": lease.Auto} {
		line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-option=takeover="+option)
		require.NoError(t, err)
		assert.Equal(t, policy, line.Scheduler.takeover())
	}
	line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-options=size=9g,takeover=manual")
	require.NoError(t, err)
	assert.Equal(t, lease.Manual, line.Scheduler.takeover(), "given among several")
}

func TestAccessToMasters(t *testing.T) {
	line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--frameworkPrincipal=p", "--frameworkSecretPath=/s", "--master-tls", "--master-ca-file=/ca")
	require.NoError(t, err)
	assert.Equal(t, masterAccess{Principal: "p", SecretFile: "/s", MasterTLS: true, MasterCAFile: "/ca"}, line.Scheduler.masterAccess)
	_, err = line.Scheduler.options(hclog.NewNullLogger())
	require.ErrorContains(t, err, "open /s")
	require.ErrorContains(t, err, "open /ca")
	_, err = parse(t, "scheduler", "--master=m:5050", "--image=e", "--master-ca-file=/ca")
	require.ErrorContains(t, err, "no master is asked by HTTPS: give --master-tls")
	_, err = parse(t, "scheduler", "--master=https://m:5050", "--image=e", "--master-cert-file=/c", "--master-key-file=/k")
	require.NoError(t, err)
}
