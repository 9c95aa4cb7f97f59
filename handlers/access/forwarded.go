package access

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// ParseProxies reads addresses ("10.0.0.7") and networks ("10.0.0.0/8") of proxies.
func ParseProxies(raw []string) ([]netip.Prefix, error) {
	proxies := make([]netip.Prefix, len(raw))
	for i, text := range raw {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("%q is neither an address such as 10.0.0.7 nor a network such as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		proxies[i] = prefix.Masked()
	}
	return proxies, nil
}

// Forwarded leaves one address in X-Forwarded-For: the client's, as far as it can be known. A client may write into the
// header what it likes and every proxy adds the address that it saw, so what counts is the last one that is no proxy's
// of ours; Fiber's IP alone would take the first. The app needs the proxies as its TrustedProxies, and looks at the
// header only of requests that come from them.
func Forwarded(proxies []netip.Prefix) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if header := &c.Request().Header; c.IsProxyTrusted() {
			var listed []string
			for _, line := range header.PeekAll(fiber.HeaderXForwardedFor) {
				listed = append(listed, strings.Split(string(line), ",")...)
			}
			client := clientOf(listed, proxies)
			if client == "" {
				client = c.Context().RemoteIP().String()
			}
			header.Set(fiber.HeaderXForwardedFor, client)
		}
		return c.Next()
	}
}

// clientOf finds the last address that is no proxy's. What stands before something that cannot be read is not believed.
func clientOf(listed []string, proxies []netip.Prefix) (client string) {
	for _, text := range slices.Backward(listed) {
		addr, err := parseAddr(strings.TrimSpace(text))
		if err != nil {
			return client
		}
		client = addr.String()
		trusted := false
		for _, p := range proxies {
			trusted = trusted || p.Contains(addr)
		}
		if !trusted {
			return client
		}
	}
	return client
}

// parseAddr also takes an address with a port, as some proxies write it.
func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		withPort, portErr := netip.ParseAddrPort(text)
		if portErr != nil {
			return addr, err
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), nil
}
