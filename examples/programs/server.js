// Answers /fibonacci/N with the Nth Fibonacci number, computed in a worker thread.
const { createServer } = require("node:http");
const { Worker, isMainThread, parentPort, threadId, workerData } = require("node:worker_threads");

function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

function answer(request, response) {
  const asked = /^\/fibonacci\/(\d{1,2})$/.exec(request.url);
  if (!asked) return response.writeHead(404).end();
  new Worker(__filename, { workerData: Number(asked[1]) })
    .once("message", (found) => response.end(JSON.stringify(found)))
    .once("error", () => response.writeHead(500).end());
}

if (isMainThread) createServer(answer).listen(8081, "127.0.0.1");
else parentPort.postMessage({ fibonacci: fibonacci(workerData), thread: threadId });
