package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// newCertificatesCollector tells when the certificates of this process expire. It keeps pairs of its own, which follow
// the files by the rules of those in use: one that cannot be read changes nothing.
func newCertificatesCollector(log *slog.Logger, all ...tlsFiles) (prometheus.Collector, error) {
	var pairs []*pair
	for _, files := range all {
		if files.cert == "" {
			continue
		}
		pair, err := openPair(files, slog.New(slog.DiscardHandler)) // those in use say what is wrong
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	c := newSnapshot("the certificates", log, func(context.Context) ([]*pair, error) { return pairs, nil })
	c.gauges("kondate_tls_certificate_expiry_timestamp_seconds", "When a certificate of this process expires.", []string{"setting"}, func(pairs []*pair) (samples []sample) {
		for _, p := range pairs {
			samples = append(samples, sample{float64(p.current().Leaf.NotAfter.Unix()), []string{p.files.group + "_cert"}})
		}
		return samples
	})
	return c, nil
}
