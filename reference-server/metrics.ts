/**
 * The engine's metrics for Prometheus. The engine passes names and values; each metric is
 * registered here when it is first used. No label names a principal, a subscription or a host,
 * because these are private and there are too many of them.
 */
import type { Meter } from 'mcp-triggers-experimental/server';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Upper bounds in seconds, from a fast commit to a slow callback. */
const SECONDS_BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];
const SIZE_BUCKETS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000];

type Labels = Readonly<Record<string, string>>;

/** A meter for the engine, and its values as text for Prometheus. */
export interface Metrics {
  readonly meter: Meter;
  readonly contentType: string;
  page(): Promise<string>;
}

/** Creates metrics with a registry of their own, so that two servers in one process stay apart. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = new Map<string, Counter>();
  const histograms = new Map<string, Histogram>();
  const gauges = new Map<string, () => number>();

  const counter = (name: string, labels: Labels) =>
    getOrMake(
      counters,
      name,
      () =>
        new Counter({
          name,
          help: helpOf(name),
          labelNames: Object.keys(labels),
          registers: [registry],
        }),
    );
  const histogram = (name: string, labels: Labels) =>
    getOrMake(
      histograms,
      name,
      () =>
        new Histogram({
          name,
          help: helpOf(name),
          labelNames: Object.keys(labels),
          registers: [registry],
          buckets: /seconds$/.test(name) ? SECONDS_BUCKETS : SIZE_BUCKETS,
        }),
    );
  return {
    contentType: registry.contentType,
    page: () => registry.metrics(),
    meter: {
      count: (name, by = 1, labels = {}) => counter(name, labels).inc(labels, by),
      observe: (name, value, labels = {}) => histogram(name, labels).observe(labels, value),
      gauge(name, read) {
        const known = gauges.has(name);
        // Prometheus accepts a name only once, so a later `read` replaces the earlier one.
        gauges.set(name, read);
        if (known) return;
        new Gauge({
          name,
          help: helpOf(name),
          registers: [registry],
          collect() {
            this.set(gauges.get(name)?.() ?? 0);
          },
        });
      },
    },
  };
}

function getOrMake<T>(all: Map<string, T>, name: string, make: () => T): T {
  let one = all.get(name);
  if (one === undefined) all.set(name, (one = make()));
  return one;
}

const helpOf = (name: string) => `${name}: see docs/architecture.md, Metrics.`;
