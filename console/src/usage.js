/* What a sandbox uses, as series of the last samples: CPU and network are rates, made of counters. */
const KEPT = 60;

class Usage {
  constructor() {
    this.last = null;
    this.samples = [];
  }

  /* `sandbox`: the answer with its usage; null usage (it does not run) is a sample of nothing. */
  add(sandbox, now = performance.now()) {
    const usage = sandbox.usage;
    if (!usage) {
      this.last = null;
      return;
    }
    const { last } = this;
    const seconds = last ? (now - last.now) / 1000 : 0;
    const continues = last && last.generation === sandbox.generation && seconds > 0;
    const per = (name) => (continues ? Math.max(0, (usage[name] ?? 0) - (last.usage[name] ?? 0)) / seconds : null);
    const cpu = per('cpuUsec');
    const received = per('networkBytesIn');
    const sent = per('networkBytesOut');
    this.last = { now, usage, generation: sandbox.generation };
    this.samples.push({
      cpu: cpu === null ? null : cpu / 1e4,
      memory: usage.memoryBytes,
      disk: usage.diskBytes,
      network: received === null ? null : received + sent,
      received,
      sent,
      pids: usage.pids,
    });
    if (this.samples.length > KEPT) this.samples.shift();
  }

  get now() {
    return this.samples.at(-1) ?? {};
  }

  series(name) {
    return this.samples.map((sample) => sample[name]);
  }
}

/* Of each sandbox that was looked at, so that its plots go on from page to page. */
const usages = new Map();
const USAGES_MAX = 2000;

export function usageOf(id) {
  let usage = usages.get(id);
  if (!usage) {
    if (usages.size >= USAGES_MAX) usages.delete(usages.keys().next().value);
    usages.set(id, (usage = new Usage()));
  }
  return usage;
}
