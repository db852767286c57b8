package main

import (
	"errors"
	"slices"
	"strings"

	"mooring/scheduler"
	"mooring/scheduler/api"
)

// masterAccess says how Mesos masters are asked, and as whom.
type masterAccess struct {
	Principal  string `help:"Principal for the Mesos master." aliases:"frameworkPrincipal"`
	SecretFile string `help:"File with the principal's secret: the secret alone, or a credential in JSON as Mesos' own tools take it. It is read at each subscription." aliases:"frameworkSecretPath" placeholder:"FILE"`

	MasterTLS      bool   `help:"Ask masters by HTTPS that are given without http:// or https://, or found in ZooKeeper." name:"master-tls"`
	MasterCAFile   string `help:"File with the certificates (PEM) that masters are checked against. Default: the system's." name:"master-ca-file" placeholder:"FILE"`
	MasterCertFile string `help:"File with the certificate (PEM) that is shown to masters." placeholder:"FILE"`
	MasterKeyFile  string `help:"File with its key (PEM)." placeholder:"FILE"`
}

// apiAccess says who may use the API.
type apiAccess struct {
	APIReadFile  string `help:"File with the tokens, or USER:PASSWORD, one in a line, of who may read the API. Default: everybody." name:"api-read-file" placeholder:"FILE"`
	APIWriteFile string `help:"The same for who may give orders, and read. Default: everybody." name:"api-write-file" placeholder:"FILE"`
}

func (a apiAccess) access() api.Access {
	return api.Access{ReadFile: a.APIReadFile, WriteFile: a.APIWriteFile}
}

// checkAccess reports certificates that would never be used.
func (c *schedulerCommand) checkAccess() error {
	secured := c.MasterTLS || slices.ContainsFunc(c.Master, func(m string) bool { return strings.Contains(m, "https://") })
	if !secured && c.MasterCAFile+c.MasterCertFile+c.MasterKeyFile != "" {
		return errors.New("certificates for masters, but no master is asked by HTTPS: give --master-tls, or masters as https://host:port")
	}
	return nil
}

// give passes it on to a scheduler.
func (a masterAccess) give(o *scheduler.Options) {
	o.Principal, o.SecretFile = a.Principal, a.SecretFile
	o.MasterTLS, o.MasterCA, o.MasterCert, o.MasterKey = a.MasterTLS, a.MasterCAFile, a.MasterCertFile, a.MasterKeyFile
}
