// A small client of seedbed: nothing but its protos and @grpc/grpc-js.

import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const PROTOS = path.join(HERE, '..', '..', 'proto');
// google/rpc/status.proto and error_details.proto come from this package.
const GOOGLE = path.dirname(createRequire(import.meta.url).resolve('google-proto-files/package.json'));

const CHUNK_BYTES = 1024 * 1024;
const CALL_MS = 60_000;
const STREAM_MS = 3_600_000;
// The server sends something at least every 10 s.
const SILENCE_MS = 30_000;
const AWAY_MS = 120_000;

const definition = protoLoader.loadSync(
  [
    ...['tasks', 'datasets', 'jobs', 'models', 'predictions'].map((name) => `seedbed/v1/${name}.proto`),
    'google/rpc/error_details.proto',
  ],
  { includeDirs: [PROTOS, GOOGLE], longs: Number, enums: String, defaults: true, oneofs: true },
);
const { seedbed } = grpc.loadPackageDefinition(definition);

// Unary calls are repeated while the server restarts; creates carry a request id, so that is safe.
const SERVICE_CONFIG = JSON.stringify({
  methodConfig: [
    {
      name: ['TaskService', 'DatasetService', 'JobService', 'ModelService', 'PredictionService'].map(
        (name) => ({ service: `seedbed.v1.${name}` }),
      ),
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.2s',
        maxBackoff: '3s',
        backoffMultiplier: 3,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
    // A stream goes on by its own cursor instead.
    {
      name: [
        { service: 'seedbed.v1.DatasetService', method: 'UploadDataset' },
        { service: 'seedbed.v1.JobService', method: 'WatchJob' },
      ],
    },
  ],
});

/** Stubs of all services at `server` (HOST:PORT), and `close()`. */
export function connect(server) {
  const options = {
    'grpc.keepalive_time_ms': 3_000,
    'grpc.keepalive_timeout_ms': 2_000,
    'grpc.max_receive_message_length': 16 * CHUNK_BYTES,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 3_000,
    'grpc.service_config': SERVICE_CONFIG,
  };
  const insecure = grpc.credentials.createInsecure();
  const stub = (name) => new seedbed.v1[name](server, insecure, options);
  const stubs = {
    datasets: stub('DatasetService'),
    jobs: stub('JobService'),
    models: stub('ModelService'),
    predictions: stub('PredictionService'),
  };
  return { ...stubs, close: () => Object.values(stubs).forEach((client) => client.close()) };
}

/** A unary call as a promise, with a deadline. */
export function call(stub, method, request, milliseconds = CALL_MS) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    stub[method](request, { deadline: Date.now() + milliseconds }, done);
  });
}

/** What is wrong with the request, field by field: [{ field, description }]. Empty for other errors. */
export function fieldViolations(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!bytes) return [];
  const status = definition['google.rpc.Status'].deserialize(bytes);
  return status.details
    .filter((detail) => detail.type_url.endsWith('/google.rpc.BadRequest'))
    .flatMap((detail) => definition['google.rpc.BadRequest'].deserialize(detail.value).fieldViolations);
}

/** Sends a file in chunks and returns the dataset; goes on where the server is after a break. */
export async function upload(client, file) {
  const { size } = await stat(file);
  const header = {
    uploadId: randomUUID(),
    fileName: path.basename(file),
    sizeBytes: size,
    sha256: await sha256(file),
    offset: 0,
  };
  for (let attempt = 0; ; attempt += 1) {
    try {
      if (attempt > 0) header.offset = (await send(client, { ...header, offset: 0 })).committedBytes;
      const { dataset } = await send(client, header, file);
      if (dataset) return dataset;
    } catch (error) {
      if (!RETRY_UPLOAD.includes(error.code) || attempt >= 7) throw error;
      await sleep(Math.min(200 * 2 ** attempt, 3_000));
    }
  }
}

async function sha256(file) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest('hex');
}

async function send(client, header, file) {
  let stream;
  const answer = new Promise((resolve, reject) => {
    const done = (error, response) => (error ? reject(error) : resolve(response));
    stream = client.datasets.uploadDataset({ deadline: Date.now() + STREAM_MS }, done);
  });
  // The server may refuse the header and never drain what is written after it.
  const failed = answer.then(() => false, () => false);
  const write = async (message) => {
    if (stream.write(message)) return true;
    return Promise.race([new Promise((resolve) => stream.once('drain', () => resolve(true))), failed]);
  };
  let open = await write({ header });
  if (file) {
    for await (const chunk of createReadStream(file, { start: header.offset, highWaterMark: CHUNK_BYTES })) {
      if (!open) break;
      open = await write({ chunk });
    }
  }
  stream.end();
  return answer;
}

// FAILED_PRECONDITION: the server has not noticed yet that the connection broke.
const RETRY_UPLOAD = [grpc.status.UNAVAILABLE, grpc.status.FAILED_PRECONDITION];
const BROKEN = [grpc.status.UNAVAILABLE, grpc.status.CANCELLED, grpc.status.DEADLINE_EXCEEDED];
const ENDED = ['SUCCEEDED', 'FAILED', 'CANCELLED'];

/** Yields a job's events, each once, until its end; subscribes again with its cursor after a break. */
export async function* watch(client, name) {
  let cursor = 0;
  let heard = Date.now();
  for (let pause = 100; ; pause = Math.min(2 * pause, 3_000)) {
    const stream = client.jobs.watchJob({ name, afterSequence: cursor }, { deadline: Date.now() + STREAM_MS });
    let silence = setTimeout(() => stream.cancel(), SILENCE_MS);
    try {
      for await (const event of stream) {
        clearTimeout(silence);
        silence = setTimeout(() => stream.cancel(), SILENCE_MS);
        heard = Date.now();
        pause = 100;
        if (event.event === 'heartbeat' || event.sequence <= cursor) continue;
        cursor = event.sequence;
        yield event;
        if (ENDED.includes(event.stateChanged?.state)) return;
      }
    } catch (error) {
      if (!BROKEN.includes(error.code) || Date.now() - heard > AWAY_MS) throw error;
      console.log('  (connection lost, going on)');
    } finally {
      clearTimeout(silence);
      stream.cancel();
    }
    await sleep(pause);
  }
}
