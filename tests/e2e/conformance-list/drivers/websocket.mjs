/* A terminal by the published WebSocket client. */
import WebSocket from 'ws';

/* Types `input` once it is ready: {output, exitCode} at its end. */
export function connect(url, input) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    let output = '';
    let exitCode;
    socket.on('error', reject);
    socket.on('close', () => resolve({ output, exitCode }));
    socket.on('message', (data, binary) => {
      if (binary) {
        output += data;
        return;
      }
      const message = JSON.parse(data);
      if (message.type === 'ready') socket.send(Buffer.from(input));
      else if (message.type === 'exit') exitCode = message.code;
    });
  });
}
