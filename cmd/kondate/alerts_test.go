package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// expression is one of PromQL, and where it stands.
type expression struct{ where, text string }

type alertRule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readDeploy(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployRoot, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal(readDeploy(t, "deploy/prometheus/alerts.yml"), &file); err != nil {
		t.Fatal(err)
	}
	var all []alertRule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func dashboardExpressions(t *testing.T) []expression {
	t.Helper()
	var board struct {
		Panels []struct {
			Title      string
			Datasource struct{ UID string }
			Targets    []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(readDeploy(t, "deploy/grafana/dashboards/kondate.json"), &board); err != nil {
		t.Fatal(err)
	}
	source := regexp.MustCompile(`uid: (\S+)`).FindSubmatch(readDeploy(t, "deploy/grafana/provisioning/datasources/prometheus.yml"))
	var all []expression
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			if panel.Datasource.UID != string(source[1]) {
				t.Errorf("panel %q asks the data source %q", panel.Title, panel.Datasource.UID)
			}
			all = append(all, expression{"panel " + panel.Title, target.Expr})
		}
	}
	return all
}

// Every alert says what to do: its runbook has what one sees, what it means, where to look and what to do.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	page := string(readDeploy(t, "docs/operations.md"))
	var names []string
	for _, rule := range alertRules(t) {
		names = append(names, rule.Alert)
		if want := "docs/operations.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook_url"] != want {
			t.Errorf("%s has the runbook %q, not %s", rule.Alert, rule.Annotations["runbook_url"], want)
		}
		if rule.Annotations["summary"] == "" || (rule.Labels["severity"] != "critical" && rule.Labels["severity"] != "warning") {
			t.Errorf("%s: labels %v, annotations %v", rule.Alert, rule.Labels, rule.Annotations)
		}
		_, section, ok := strings.Cut(page, "\n### "+rule.Alert+"\n")
		if !ok {
			t.Errorf("docs/operations.md has no section %s", rule.Alert)
			continue
		}
		section, _, _ = strings.Cut(section, "\n#")
		for _, part := range []string{"**Symptom.**", "**Meaning.**", "**Look.**", "**Do.**"} {
			if !strings.Contains(section, part) {
				t.Errorf("the runbook %s has no %s", rule.Alert, part)
			}
		}
	}
	for _, found := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(names, found[1]) {
			t.Errorf("docs/operations.md has a runbook %s, for which there is no alert", found[1])
		}
	}
}

// Alerts and panels use metrics that there are, with labels that these have.
func TestExpressionsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	exported := documentedMetrics(t)
	var all []expression
	for _, rule := range alertRules(t) {
		all = append(all, expression{"alert " + rule.Alert, rule.Expr})
	}
	all = append(all, dashboardExpressions(t)...)
	if len(all) < 50 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	metric := regexp.MustCompile(`\b((?:kondate|node|process|go)_\w+|up)\b(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	for _, e := range all {
		found := metric.FindAllStringSubmatch(e.text, -1)
		if len(found) == 0 {
			t.Errorf("%s uses no metric: %s", e.where, e.text)
		}
		for _, m := range found {
			name := m[1]
			if !strings.HasPrefix(name, "kondate_") {
				continue // the client library's, Prometheus' own, node_exporter's
			}
			labels, ok := exported[name]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if !ok {
					labels, ok = exported[strings.TrimSuffix(name, suffix)]
				}
			}
			if !ok {
				t.Errorf("%s uses %s, which docs/metrics.md does not know", e.where, name)
				continue
			}
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(labels, l[1]) && !slices.Contains([]string{"job", "instance", "service"}, l[1]) {
					t.Errorf("%s asks %s for the label %s, it has %s", e.where, name, l[1], labels)
				}
			}
		}
	}
}

// documentedMetrics are those of docs/metrics.md, each with its labels as they are written there. That page is held
// against what a server exports.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{}
	for line := range strings.Lines(string(readDeploy(t, "docs/metrics.md"))) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		if name := strings.Trim(cells[1], " `"); strings.HasPrefix(name, "kondate_") {
			known[name] = cells[3]
		}
	}
	if len(known) == 0 {
		t.Fatal("docs/metrics.md names no metric")
	}
	return known
}
