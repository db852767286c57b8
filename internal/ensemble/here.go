package ensemble

import (
	"errors"
	"fmt"
	"net"
)

// Here is the address of this machine that its packets to the servers come from, so that others who reach the servers reach it
// there. It asks the routing table and sends nothing.
func (a Address) Here() (string, error) {
	var errs []error
	for _, server := range a.servers {
		here, err := toward(server)
		if err == nil {
			return here, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find this host's address by the way to ZooKeeper at %s: %w", a, errors.Join(errs...))
}

// toward is the address of this machine on the way to a server. A server on this very machine shows none that is of use elsewhere.
func toward(server string) (string, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	here, there := conn.LocalAddr().(*net.UDPAddr).IP, conn.RemoteAddr().(*net.UDPAddr).IP
	if here.IsLoopback() && (here.Equal(there) || here.Equal(net.IPv4(127, 0, 0, 1)) || here.Equal(net.IPv6loopback)) {
		return "", fmt.Errorf("%s is on this host's loopback", server)
	}
	return here.String(), nil
}

// Beside is an address of the same servers, for the same user, with another path. It contains the password.
func Beside(text, path string) (string, error) {
	a, err := Parse(text)
	if err != nil {
		return "", err
	}
	return text[:len(text)-len(a.path)] + path, nil
}
