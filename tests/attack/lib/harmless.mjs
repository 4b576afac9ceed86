/* Items that a sandbox may reach, each with the reason why that gives nothing away. By probe, then item. */
export const harmless = {};
