package scheduler

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"mooring/internal/secret"
)

// credentials are what calls are authenticated with, by HTTP Basic. Without a secret none are sent.
type credentials struct{ principal, secret string }

// CheckSecrets reads the files that a subscription will read, so that what is wrong with them is told at the start.
func (o Options) CheckSecrets() error {
	_, errCredentials := o.credentials()
	_, errTLS := o.tls()
	return errors.Join(errCredentials, errTLS)
}

// credentials reads the file with the secret: the secret alone, or a credential as Mesos' own tools take it, in JSON.
func (o Options) credentials() (credentials, error) {
	c := credentials{principal: o.Principal}
	if o.SecretFile == "" {
		return c, nil
	}
	text, err := secret.Read(o.SecretFile)
	if err != nil {
		return c, fmt.Errorf("secret of the principal: %w", err)
	}
	c.secret = text
	if strings.HasPrefix(text, "{") {
		var given struct {
			Principal string `json:"principal"`
			Secret    string `json:"secret"`
		}
		if json.Unmarshal([]byte(text), &given) != nil || given.Secret == "" { // the error would show a part of it
			return c, fmt.Errorf(`secret file %s begins with { and is not {"principal": "NAME", "secret": "SECRET"}`, o.SecretFile)
		}
		if o.Principal != "" && given.Principal != "" && given.Principal != o.Principal {
			return c, fmt.Errorf("secret file %s is that of principal %q, but %q is to be used: give --principal=%s, or another file",
				o.SecretFile, given.Principal, o.Principal, given.Principal)
		}
		c.secret = given.Secret
		if c.principal == "" {
			c.principal = given.Principal
		}
	}
	switch {
	case c.principal == "":
		return c, fmt.Errorf("secret file %s: give the principal whose secret it is, too (--principal)", o.SecretFile)
	case strings.Contains(c.principal, ":"):
		return c, fmt.Errorf("principal %q: HTTP Basic authentication has no principal with a colon", c.principal)
	}
	return c, nil
}

// tls reads the certificates for masters that are asked by HTTPS.
func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.MasterCA != "" {
		content, err := os.ReadFile(o.MasterCA)
		if err != nil {
			return nil, fmt.Errorf("read the certificates that masters are checked against: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("file %s holds no certificate in PEM that masters could be checked against", o.MasterCA)
		}
	}
	if o.MasterCert == "" && o.MasterKey == "" {
		return config, nil
	}
	if o.MasterCert == "" || o.MasterKey == "" {
		return nil, errors.New("a certificate for masters needs its key, and a key its certificate: give both or neither")
	}
	pair, err := tls.LoadX509KeyPair(o.MasterCert, o.MasterKey)
	if err != nil {
		return nil, fmt.Errorf("load the certificate for masters: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// refused is what a master's answer of 401 means for an operator.
func (c credentials) refused(response *http.Response) error {
	if c.secret == "" {
		return fmt.Errorf("master answers %s, it wants to know who asks: give --principal and --secret-file", response.Status)
	}
	return fmt.Errorf("master answers %s, it does not know principal %q with this secret: see that its --credentials and our --secret-file say the same", response.Status, c.principal)
}

// mayKnow tells whether a secret may be sent to where a redirect leads: to a master that was named, or found in ZooKeeper. Masters
// name each other by host names that need not be those that an operator gave, so addresses are compared, too.
func mayKnow(ctx context.Context, to *url.URL, masters []*url.URL) bool {
	there := addresses(ctx, to)
	return slices.ContainsFunc(masters, func(m *url.URL) bool {
		if m.Host == to.Host {
			return true
		}
		return m.Port() == to.Port() && slices.ContainsFunc(addresses(ctx, m), func(a string) bool { return slices.Contains(there, a) })
	})
}

// addresses are those of a host; none if it is not known.
func addresses(ctx context.Context, u *url.URL) []string {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	found, _ := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	return found
}
