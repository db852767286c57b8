package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/go-hclog"

	"mooring/internal/ensemble"
)

// found are the masters to subscribe at, to be tried in turn, as far as it is known.
type found struct {
	endpoints []*url.URL
	changed   <-chan struct{} // closed when another master leads; nil: nobody would tell
}

// masters knows where masters are.
type masters interface {
	// find says where they are now. With an error, too, changed tells when to ask again.
	find(ctx context.Context) (found, error)
	// run keeps that up to date until ctx ends.
	run(ctx context.Context) error
}

// listed are masters whose addresses were given.
type listed []*url.URL

func (l listed) find(context.Context) (found, error) { return found{endpoints: l}, nil }
func (l listed) run(context.Context) error           { return nil }

const (
	zooKeeperScheme = "zk://"
	masterSetting   = "--master"
	masterRightForm = "use host:port, http://host:port or https://host:port, or zk://user:password@host:2181,host:2181/path for all"
)

// CheckMasters reports every address that cannot be a master's. With secured those that say nothing else are asked by HTTPS.
func CheckMasters(masters []string, secured bool) error {
	_, err := parseMasters(masters, secured)
	return err
}

// parseMasters reads addresses of masters, several in one or one each, or the one address in ZooKeeper. It returns how to find
// them.
func parseMasters(given []string, secured bool) (func(hclog.Logger) masters, error) {
	if len(given) == 0 {
		return nil, errors.New("no master given: " + masterRightForm)
	}
	if strings.HasPrefix(given[0], zooKeeperScheme) && len(given) == 1 {
		a, err := ensemble.Parse(given[0])
		if err != nil {
			return nil, fmt.Errorf("masters: %w", err)
		}
		return func(log hclog.Logger) masters { return newDetector(a, schemeOf(secured), log) }, nil
	}
	var endpoints listed
	var errs []error
	for _, several := range given {
		if strings.HasPrefix(several, zooKeeperScheme) { // not shown, it may contain a password
			errs = append(errs, errors.New("masters: an address in ZooKeeper stands for all, give it alone"))
			continue
		}
		for master := range strings.SplitSeq(several, ",") {
			endpoint, err := parseMaster(master, secured)
			endpoints, errs = append(endpoints, endpoint), append(errs, err)
		}
	}
	return func(hclog.Logger) masters { return endpoints }, errors.Join(errs...)
}

func schemeOf(secured bool) string {
	if secured {
		return "https"
	}
	return "http"
}

func parseMaster(master string, secured bool) (*url.URL, error) {
	if at := strings.LastIndex(master, "@"); at >= 0 {
		return nil, fmt.Errorf("master at %q: give credentials as principal and secret, not in the address", master[at+1:])
	}
	full := master
	if !strings.Contains(master, "://") {
		full = schemeOf(secured) + "://" + master
	}
	u, err := url.Parse(full)
	switch {
	case err != nil:
		return nil, fmt.Errorf("master %q: %s", master, masterRightForm)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("master %q: scheme %q is not known here, %s", master, u.Scheme, masterRightForm)
	case secured && u.Scheme != "https":
		return nil, fmt.Errorf("master %q is not to be asked by HTTPS, the others are (--master-tls): use https:// or nothing before its name", master)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return nil, fmt.Errorf("master %q: %s, without a path", master, masterRightForm)
	case !isHostPort(u.Host):
		return nil, fmt.Errorf("master %q: %s, usually port 5050", master, masterRightForm)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: schedulerPath}, nil
}
