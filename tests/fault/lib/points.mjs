/*
 * Every FAULT_POINT of the source, and the scenarios (scenarios.mjs, spawner.test.mjs) that die there. points.test.mjs
 * compares this list with the source.
 */
export const daemonPoints = {
  'adopt.begin': ['adopt'],
  'adopt.listed': ['adopt'],
  'adopt.done': ['adopt'],
  'adopt.unclaimed': ['adoptUnclaimed'],
  'create.stored': ['create', 'wake', 'claim'],
  'create.sent': ['create', 'wake'],
  'create.started': ['create', 'wake'],
  'create.limits_set': ['claim'],
  'create.configured': ['firstUse'],
  'create.running': ['create', 'wake', 'claim'],
  'create.done': ['create'],
  'create.failed': ['fail'],
  'destroy.stored': ['destroy'],
  'destroy.sent': ['destroy', 'sleep', 'end'],
  'destroy.done': ['destroy'],
  'end.told': ['end'],
  'end.stored': ['end', 'sleep'],
  'exec.start': ['exec'],
  'exec.sent': ['exec'],
  'exec.streaming': ['exec', 'execKept'],
  'exec.done': ['execDone'],
  'keys.stored': ['keys'],
  'once.begun': ['once'],
  'once.answered': ['once'],
  'once.stored': ['once'],
  'pool.claimed': ['claim'],
  'pool.stored': ['claim'],
  'pool.started': ['claim'],
  'pool.ready': ['adoptPool'],
  'pool.deleted': ['shutdownPool'],
  'settings.limits_set': ['settings'],
  'settings.stored': ['settings'],
  'sleep.due': ['sleep'],
  'write.start': ['write'],
  'write.sent': ['write'],
  'write.streaming': ['write'],
  'write.done': ['write'],
};

export const spawnerPoints = {
  'spawn.adopt.taken': ['start'],
  'spawn.create.slot': ['create'],
  'spawn.create.cloned': ['create'],
  'spawn.create.meta_written': ['create'],
  'spawn.create.started': ['create'],
  'spawn.destroy.killed': ['destroy'],
  'spawn.destroy.reaped': ['destroy'],
  'spawn.destroy.cleaning': ['destroy'],
  'spawn.destroy.cgroup_removed': ['destroy'],
  'spawn.destroy.parts_removed': ['destroy'],
  'spawn.disk.made': ['prepare'],
  'spawn.disk.attached': ['prepare'],
  'spawn.disk.mounted': ['prepare'],
  'spawn.exit.seen': ['end'],
  'spawn.exit.meta_written': ['end'],
  'spawn.keeper.prepared': ['prepare'],
  'spawn.keeper.giving_back': ['giveBack'],
  'spawn.limits.set': ['settings'],
  'spawn.limits.recorded': ['settings'],
  'spawn.meta.written': ['create', 'settings'],
  'spawn.slot.listener': ['create'],
  'spawn.slot.cgroup': ['create'],
  'spawn.slot.subvolume': ['create'],
};

export const pointsOf = (points, scenario) => Object.keys(points).filter((point) => points[point].includes(scenario));

/* [[scenario, point], …] */
export const pairs = (points) => Object.entries(points).flatMap(([point, scenarios]) => scenarios.map((scenario) => [scenario, point]));
