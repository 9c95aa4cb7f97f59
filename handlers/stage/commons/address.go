package commons

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// reserved are networks that are no part of the public internet, or lead out of it, and that netip has no word for.
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),       // this network
		netip.MustParsePrefix("100.64.0.0/10"),   // shared, behind a carrier's NAT
		netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"), // documentation
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation
		netip.MustParsePrefix("240.0.0.0/4"),     // future use, broadcast
		netip.MustParsePrefix("::/96"),           // IPv4-compatible
		netip.MustParsePrefix("64:ff9b::/96"),    // an IPv4 address behind NAT64
		netip.MustParsePrefix("64:ff9b:1::/48"),  // the same, locally
		netip.MustParsePrefix("2001::/32"),       // an IPv4 address behind Teredo
		netip.MustParsePrefix("2001:db8::/32"),   // documentation
		netip.MustParsePrefix("2002::/16"),       // an IPv4 address behind 6to4
		netip.MustParsePrefix("fec0::/10"),       // site-local
	}
}

// guardAddress returns the check of the address that a connection is about to be made to.
//
// It sees what the name was resolved to, for every try of every connection. So a name server that answers with an
// address inside the operator's network, today or at the second look-up, opens no way to what listens there: the
// machine itself, its neighbours, the cloud's metadata at 169.254.169.254. The one exception is a host that the
// operator has configured on this machine itself, as the tests do; then only this machine is let through.
func guardAddress(local bool) func(network, address string, c syscall.RawConn) error {
	networks := reserved()
	return func(_, address string, _ syscall.RawConn) error {
		target, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("the address %q is no IP address and port", address)
		}
		ip := target.Addr().Unmap().WithZone("")
		public := ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
		if local && ip.IsLoopback() || !local && public {
			return nil
		}
		return fmt.Errorf("the name resolves to %s, which is not connected to: it is no address of the public internet", ip)
	}
}
