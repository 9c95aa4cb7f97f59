package main

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/prometheus/client_golang/prometheus"

	"kondate/handlers/httpapi"
)

// requestMetrics counts the requests to this process, by the pattern of their route and never by their path.
type requestMetrics struct {
	count   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newRequestMetrics() requestMetrics {
	return requestMetrics{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kondate_http_requests_total", Help: "Requests that were answered, by route and class of status; a stream counts when it begins.",
		}, []string{"method", "route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kondate_http_request_seconds", Help: "How long the answer to a request took.", Buckets: durations(),
		}, []string{"method", "route"}),
	}
}

// observe counts a request. It stands before everything else.
func (m requestMetrics) observe(c *fiber.Ctx) error {
	began := time.Now()
	method := utils.CopyString(c.Method())
	route, _ := httpapi.Answered(c)
	m.seconds.WithLabelValues(method, route).Observe(time.Since(began).Seconds())
	m.count.WithLabelValues(method, route, strconv.Itoa(c.Response().StatusCode()/100)+"xx").Inc()
	return nil
}
