package ensemble

import (
	"errors"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strings"

	"mooring/internal/secret"
)

const (
	scheme      = "zk://"
	defaultPort = "2181"
	form        = "zk://user:password@host:2181,host:2181,host:2181/path; user and password may be left out, or be in a file: zk://@FILE@host:2181/path"
)

// Address says where an ensemble is and who asks. It never shows the password.
type Address struct {
	servers  []string
	path     string
	user     string
	password string
}

// Parse reads an address, and the file with user and password that it may name. Errors do not repeat it, because of its password.
func Parse(text string) (Address, error) {
	a, err := parse(text)
	if err != nil {
		return Address{}, fmt.Errorf("address of ZooKeeper: %w; it looks like %s", err, form)
	}
	return a, nil
}

func parse(text string) (Address, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return Address{}, errors.New("it does not begin with " + scheme)
	}
	var a Address
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		var err error
		if a.user, a.password, err = who(rest[:at]); err != nil {
			return Address{}, err
		}
		rest = rest[at+1:]
	}
	servers, below, _ := strings.Cut(rest, "/")
	a.path = "/" + below
	if below == "" || path.Clean(a.path) != a.path || strings.ContainsAny(below, "?#, ") {
		return Address{}, fmt.Errorf("its path %q is not one such as /mooring", a.path)
	}
	for server := range strings.SplitSeq(servers, ",") {
		if !strings.Contains(server, ":") {
			server += ":" + defaultPort
		}
		host, port, err := net.SplitHostPort(server)
		if err != nil || host == "" || port == "" {
			return Address{}, fmt.Errorf("its server %q is not host:port", server)
		}
		a.servers = append(a.servers, server)
	}
	return a, nil
}

// who reads what is before the last @: user and password, or where they are kept.
func who(text string) (user, password string, err error) {
	if file, inFile := strings.CutPrefix(text, "@"); inFile {
		if !filepath.IsAbs(file) {
			return "", "", fmt.Errorf("its file %q with user and password is not an absolute path", file)
		}
		return secret.ReadPair(file)
	}
	user, password, found := strings.Cut(text, ":")
	if !found || user == "" || password == "" {
		return "", "", errors.New("before the @ there is no user:password")
	}
	return user, password, nil
}

// Path is the node below which everything is.
func (a Address) Path() string { return a.path }

// String is the address without user and password.
func (a Address) String() string { return scheme + strings.Join(a.servers, ",") + a.path }

// GoString keeps the password out of messages, too.
func (a Address) GoString() string { return a.String() }
