// Module resolution for the SDK: what the Workers runtime has built in, and imports that leave ".js" to a bundler.
const builtin = new URL('./workers.mjs', import.meta.url).href;

export async function resolve(specifier, context, next) {
  if (specifier === 'cloudflare:workers') return { url: builtin, format: 'module', shortCircuit: true };
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || !specifier.startsWith('.')) throw error;
    return next(`${specifier}.js`, context);
  }
}
