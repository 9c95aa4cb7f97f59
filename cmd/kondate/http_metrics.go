package main

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/prometheus/client_golang/prometheus"
)

// noRoute stands for the route of a request that reached none: no route has its path, or it was refused before.
const noRoute = "none"

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

// observe counts a request. It stands before everything else, and so has to see to errors itself: the status of the answer
// is known after that.
func (m requestMetrics) observe(c *fiber.Ctx) error {
	began := time.Now()
	if err := c.Next(); err != nil {
		if err := c.App().ErrorHandler(c, err); err != nil {
			_ = c.SendStatus(fiber.StatusInternalServerError) // it sets the status and has nothing that could fail
		}
	}
	method, route := utils.CopyString(c.Method()), c.Route().Path
	if route == "/" && c.Path() != "/" { // that of a middleware
		route = noRoute
	}
	m.seconds.WithLabelValues(method, route).Observe(time.Since(began).Seconds())
	m.count.WithLabelValues(method, route, strconv.Itoa(c.Response().StatusCode()/100)+"xx").Inc()
	return nil
}
