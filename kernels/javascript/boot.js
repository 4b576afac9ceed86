{
  // Inline caches from a function's first call on, not after some: a context's first cells take two thirds of the time.
  require('v8').setFlagsFromString('--no-lazy-feedback-allocation');
  const fs = require('fs');
  const read = (count) => {
    const data = Buffer.alloc(count);
    for (let done = 0; done < count;) {
      let n;
      try { n = fs.readSync(3, data, done, count - done); } catch (error) { if (error.code === 'EAGAIN') continue; throw error; }
      if (n === 0) process.exit(0);
      done += n;
    }
    return data;
  };
  const source = read(read(4).readUInt32LE(0)).subarray(1).toString();
  new (require('vm').Script)(source, { filename: 'berm-kernel' }).runInThisContext()(3, require, (name) => import(name));
}
