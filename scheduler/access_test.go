package scheduler_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/scheduler"
	"mooring/scheduler/mesostest"
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

func TestAMasterThatAsksWhoIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		principal, secret string
		says              string
	}{
		"missing": {"", "", "401 Unauthorized, it wants to know who asks: give --principal and --secret-file"},
		"name":    {"mooring", "", "401 Unauthorized, it wants to know who asks: give --principal and --secret-file"},
		"wrong":   {"mooring", canary + "-wrong", `401 Unauthorized, it does not know principal "mooring" with this secret`},
		"other":   {"ships", canary, `401 Unauthorized, it does not know principal "ships" with this secret`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.master.RequireCredentials("mooring", canary)
			if r.options.Principal = c.principal; c.secret != "" {
				r.options.SecretFile = secretFile(t, c.secret)
			}
			log := r.captureLog()
			r.start()
			r.eventually(func() bool { return strings.Contains(r.scheduler.View().Unsubscribed, c.says) }, "it says what to do")
			assert.NotContains(t, log.String()+r.scheduler.View().Unsubscribed, canary)
		})
	}
}

func TestASecretIsReadAtEachSubscription(t *testing.T) {
	r := newRig(t, 1)
	r.agents(1, 1)
	r.master.RequireCredentials("mooring", canary)
	r.options.SecretFile = secretFile(t, `{"principal": "mooring", "secret": "old"}`)
	log := r.captureLog()
	r.start()
	r.eventually(func() bool { return strings.Contains(r.scheduler.View().Unsubscribed, "with this secret") }, "the old one is refused")
	require.NoError(t, os.Chmod(r.options.SecretFile, 0o644))
	r.eventually(func() bool { return strings.Contains(r.scheduler.View().Unsubscribed, "is open to everybody") }, "no secret is taken that is none")
	require.NoError(t, os.WriteFile(r.options.SecretFile, []byte(`{"principal": "mooring", "secret": "`+canary+`"}`), 0o600))
	require.NoError(t, os.Chmod(r.options.SecretFile, 0o600))
	r.running(1)
	assert.Empty(t, r.scheduler.View().Unsubscribed)
	assert.Equal(t, "mooring", r.master.Calls(v1.Call_SUBSCRIBE)[0].Subscribe.FrameworkInfo.GetPrincipal())
	assert.NotContains(t, log.String(), canary)
}

// A standby that leads elsewhere than to a master is wrong, or no master at all.
func TestASecretGoesToMastersOnly(t *testing.T) {
	r := newRig(t, 1)
	r.options.Principal, r.options.SecretFile = "mooring", secretFile(t, canary)
	stranger := mesostest.New(t)
	r.master.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + stranger.Address() + "/master/api/v1/scheduler" })
	r.start()
	r.eventually(func() bool {
		return strings.Contains(r.scheduler.View().Unsubscribed, "it says that "+stranger.Address()+" leads, which is none of the masters given")
	}, "it says what is wrong")
	r.stop()
	assert.Empty(t, stranger.Credentials())
	assert.Empty(t, stranger.Calls())

	r.options.SecretFile = ""
	r.start()
	r.eventually(func() bool { return stranger.FrameworkID() != "" }, "without a secret the word of a master is enough")
}

func TestASecretFollowsTheLeader(t *testing.T) {
	for name, list := range map[string]func(standby, leader string) []string{
		"given":       func(standby, leader string) []string { return []string{standby, leader} },
		"in one list": func(standby, leader string) []string { return []string{standby + "," + leader} },
		"by other name": func(standby, leader string) []string {
			return []string{standby, strings.Replace(leader, "127.0.0.1", "localhost", 1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.agents(1, 1)
			r.options.Principal, r.options.SecretFile = "mooring", secretFile(t, canary)
			standby := mesostest.New(t)
			standby.Fault(func(f *mesostest.Faults) { f.Redirect = "//" + r.master.Address() + "/master/api/v1/scheduler" })
			r.master.RequireCredentials("mooring", canary)
			r.startWith(list(standby.Address(), r.master.Address())...)
			r.running(1)
			assert.Equal(t, r.master.Address(), r.scheduler.View().Subscribed)
		})
	}
}

// secured is a rig whose master speaks HTTPS.
func secured(t *testing.T, demand *tls.Config) *rig {
	r := newRig(t, 1)
	r.master = mesostest.NewTLS(t, demand)
	r.master.AutoRun = true
	r.agents(1, 1)
	r.options.MasterCA = secretFile(t, string(r.master.Certificate()))
	return r
}

func TestMastersByHTTPS(t *testing.T) {
	r := secured(t, nil)
	r.master.RequireCredentials("mooring", canary)
	r.options.Principal, r.options.SecretFile = "mooring", secretFile(t, canary)
	r.startWith("https://" + r.master.Address())
	r.running(1)
	r.stop()

	r.options.MasterTLS = true
	r.startWith(r.master.Address())
	r.subscribed(2)
}

func TestAMasterThatCannotProveItselfHearsNothing(t *testing.T) {
	r := secured(t, nil)
	r.options.MasterCA = "" // the system's certificates do not know it
	r.options.Principal, r.options.SecretFile = "mooring", secretFile(t, canary)
	r.startWith("https://" + r.master.Address())
	r.eventually(func() bool { return strings.Contains(r.scheduler.View().Unsubscribed, "failed to verify certificate") }, "it says why")
	assert.Empty(t, r.master.Credentials())
}

func TestHTTPSStaysHTTPS(t *testing.T) {
	for name, location := range map[string]string{"no scheme": "//", "HTTP": "http://"} {
		t.Run(name, func(t *testing.T) {
			r := secured(t, nil)
			standby := mesostest.NewTLS(t, nil) // the same certificate
			standby.Fault(func(f *mesostest.Faults) { f.Redirect = location + r.master.Address() + "/master/api/v1/scheduler" })
			r.startWith("https://" + standby.Address())
			r.running(1)
			plain := mesostest.New(t)
			standby.Fault(func(f *mesostest.Faults) { f.Redirect = location + plain.Address() + "/master/api/v1/scheduler" })
			r.master.Disconnect()
			r.eventually(func() bool {
				return strings.Contains(r.scheduler.View().Unsubscribed, "server gave HTTP response to HTTPS client")
			}, "it does not fall back")
			assert.Empty(t, plain.Calls())
		})
	}
}

func TestAMasterThatWantsACertificate(t *testing.T) {
	cert, key := certificate(t)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(cert)))
	r := secured(t, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	r.startWith("https://" + r.master.Address())
	r.eventually(func() bool { return strings.Contains(r.scheduler.View().Unsubscribed, "certificate required") }, "without one it is refused")
	r.stop()
	r.options.MasterCert, r.options.MasterKey = secretFile(t, cert), secretFile(t, key)
	r.startWith("https://" + r.master.Address())
	r.running(1)
}

// certificate makes one, with its key, that is its own authority.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

func TestMastersInZooKeeperByHTTPS(t *testing.T) {
	r := secured(t, nil)
	masters := newRegistry(t, zookeeper.Run(t), "/secured/mesos")
	masters.named = "127.0.0.1"
	masters.announce(1, r.master)
	r.options.MasterTLS = true
	r.startWith("zk://" + masters.server.Address + masters.path)
	r.running(1)
}

func TestWhatIsWrongWithSecretsIsToldAtTheStart(t *testing.T) {
	cert, key := certificate(t)
	_, otherKey := certificate(t)
	for name, c := range map[string]struct {
		options scheduler.Options
		says    string
	}{
		"no principal":    {scheduler.Options{SecretFile: secretFile(t, canary)}, "give the principal whose secret it is, too (--principal)"},
		"a colon":         {scheduler.Options{Principal: "a:b", SecretFile: secretFile(t, canary)}, `principal "a:b": HTTP Basic authentication has no principal with a colon`},
		"two principals":  {scheduler.Options{Principal: "a", SecretFile: secretFile(t, `{"principal":"b","secret":"`+canary+`"}`)}, `is that of principal "b", but "a" is to be used`},
		"bad JSON":        {scheduler.Options{Principal: "a", SecretFile: secretFile(t, `{"secret":"`+canary)}, `is not {"principal": "NAME", "secret": "SECRET"}`},
		"no secret":       {scheduler.Options{Principal: "a", SecretFile: secretFile(t, `{"credentials":["`+canary+`"]}`)}, `is not {"principal": "NAME", "secret": "SECRET"}`},
		"no file":         {scheduler.Options{Principal: "a", SecretFile: "/no/such"}, "secret of the principal: read secret: open /no/such"},
		"no authority":    {scheduler.Options{MasterCA: "/no/such"}, "read the certificates that masters are checked against: open /no/such"},
		"no certificate":  {scheduler.Options{MasterCA: secretFile(t, canary)}, "holds no certificate in PEM that masters could be checked against"},
		"half a pair":     {scheduler.Options{MasterCert: "c"}, "give both or neither"},
		"not its own key": {scheduler.Options{MasterCert: secretFile(t, cert), MasterKey: secretFile(t, otherKey)}, "load the certificate for masters"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.options.CheckSecrets()
			require.ErrorContains(t, err, c.says)
			assert.NotContains(t, err.Error(), canary)
		})
	}
	require.NoError(t, scheduler.Options{
		Principal: "a", SecretFile: secretFile(t, `{"secret":"s"}`), MasterCA: secretFile(t, cert), MasterCert: secretFile(t, cert), MasterKey: secretFile(t, key),
	}.CheckSecrets())
}
