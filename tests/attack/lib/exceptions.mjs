/* Items that a sandbox may reach, each with the reason why that gives nothing away. By probe, then item. */
export const harmless = {
  'A5-calls': {
    setpriority: 'a slow agent is slow for its own sandbox only; nothing that holds for it depends on its agent',
  },
  'A7-devices': {
    'open /dev/fuse': 'it does nothing until it is mounted, which the broker decides about (A4-mount)',
  },
  'B4-special': {
    'SELinux label': 'SELinux itself rules over its labels; without a policy they mean nothing to anybody',
  },
  'B5-read': {
    'look at /proc/iomem': 'the addresses are zeros for those without CAP_SYS_ADMIN over the host',
    'look at /proc/ioports': 'likewise',
    'look at /proc/config.gz': 'how the kernel was built is no secret: its version is in uname',
    'look at /proc/swaps': 'how much swap there is; `free` says it too',
  },
};

/* Items that the control run cannot reach on some hosts, for a reason that its error does not tell. */
const devices = ['vda', 'sda', 'mem', 'port'].map((name) => [`open /dev/${name}`, 'a devices cgroup or lockdown refuses it to host root']);
export const unproven = {
  'A7-devices': Object.fromEntries(devices),
};
