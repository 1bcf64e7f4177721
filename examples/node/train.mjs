// node train.mjs SERVER DATA.csv [--target COLUMN] [--budget 20s|10trials] [--task tabular]
//
// Uploads a table, searches for the best model, shows the leaderboard, and predicts the first row.

import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

import { call, connect, fieldViolations, upload, watch } from './seedbed.mjs';

const USAGE = 'usage: node train.mjs SERVER DATA.csv [--target COLUMN] [--budget 20s|10trials] [--task tabular]';

function readArguments() {
  const options = {
    target: { type: 'string', default: '' },
    budget: { type: 'string', default: '20s' },
    task: { type: 'string', default: 'tabular' },
  };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (positionals.length !== 2) throw new TypeError(USAGE);
  return { ...values, server: positionals[0], file: positionals[1], budget: readBudget(values.budget) };
}

function readBudget(text) {
  const match = /^(\d+)(s|m|trials?|samples?)$/.exec(text);
  if (!match) throw new TypeError(`--budget must be such as 20s, 5m, 10trials or 50000samples, got ${text}`);
  const [, number, unit] = match;
  if (unit === 's') return { wallClock: { seconds: Number(number) } };
  if (unit === 'm') return { wallClock: { seconds: 60 * Number(number) } };
  return unit.startsWith('trial') ? { trials: Number(number) } : { samples: Number(number) };
}

const short = (name) => name.split('/').at(-1);

function describe(event) {
  switch (event.event) {
    case 'stateChanged':
      return event.stateChanged.state.toLowerCase();
    case 'trialFinished': {
      const { trial, state, validationScore, reason } = event.trialFinished;
      const score = validationScore === undefined ? '' : ` ${validationScore.toFixed(4)}`;
      return `trial ${trial} ${state.toLowerCase()}${score}${reason ? ` (${reason})` : ''}`;
    }
    case 'bestChanged': {
      const { trial, architecture, validationScore } = event.bestChanged;
      return `best so far ${validationScore.toFixed(4)} (trial ${trial}, ${architecture})`;
    }
    case 'finding':
      return `${event.finding.severity.toLowerCase()}: ${event.finding.message}`;
    default:
      return '';
  }
}

/** Asks for what cannot be, without creating anything, to show what the answer looks like. */
async function showMistake(client, job) {
  try {
    const mistaken = { ...job, budget: { trials: 0 } };
    await call(client.jobs, 'createJob', { job: mistaken, validateOnly: true });
  } catch (error) {
    const violations = fieldViolations(error);
    if (violations.length === 0) throw error;
    console.log('a budget of no trials is refused:');
    for (const { field, description } of violations) console.log(`  ${field}: ${description}`);
  }
}

async function follow(client, job) {
  for await (const event of watch(client, job.name)) {
    const line = describe(event);
    if (line) console.log(`  ${line}`);
  }
  const ended = await call(client.jobs, 'getJob', { name: job.name });
  if (ended.state !== 'SUCCEEDED') {
    throw new Error(`job ${short(job.name)} ${ended.state.toLowerCase()}: ${ended.error?.message ?? 'no model'}`);
  }
  return ended;
}

async function showLeaderboard(client, job) {
  const { trials } = await call(client.jobs, 'listTrials', { parent: job.name, pageSize: 10 });
  console.log('leaderboard:');
  trials.forEach((trial, index) => {
    const score = trial.validationScore === undefined ? trial.state.toLowerCase() : trial.validationScore.toFixed(4);
    const baseline = trial.baseline ? ' (baseline)' : '';
    console.log(`  ${index + 1}. ${score}  ${trial.architecture}${baseline}, ${trial.epochs} epochs`);
  });
  const { metric, value, lower, upper, itemCount } = job.testScore;
  const interval = lower === undefined ? '' : ` (interval ${lower.toFixed(3)}–${upper.toFixed(3)})`;
  console.log(`test ${metric} ${value.toFixed(4)}${interval} on ${itemCount} items`);
}

async function predictFirst(client, job) {
  const model = await call(client.models, 'getModel', { name: job.model });
  // The samples are typed values already, the first row of the file first.
  const { samples } = await call(client.datasets, 'inspectDataset', { name: job.dataset, target: job.target });
  const wanted = new Set(model.inputs.map((input) => input.name));
  const fields = Object.fromEntries(Object.entries(samples[0].fields).filter(([name]) => wanted.has(name)));
  const { predictions } = await call(client.predictions, 'predict', { model: model.name, examples: [{ fields }] });
  const [{ classification, regression }] = predictions;
  const answer = classification
    ? `${classification.label} (probability ${classification.probabilities[0].probability.toFixed(3)})`
    : regression.value.toString();
  console.log(`prediction for the first row: ${answer}`);
}

async function main() {
  const { server, file, target, task, budget } = readArguments();
  const client = connect(server);
  try {
    const dataset = await upload(client, file);
    console.log(`uploaded ${dataset.displayName} as ${short(dataset.name)}, ${dataset.sizeBytes} bytes`);
    const wanted = { task, dataset: dataset.name, target, budget };
    await showMistake(client, wanted);
    const job = await call(client.jobs, 'createJob', { job: wanted, requestId: randomUUID() });
    console.log(`job ${short(job.name)}`);
    const ended = await follow(client, job);
    await showLeaderboard(client, ended);
    await predictFirst(client, ended);
  } finally {
    client.close();
  }
}

try {
  await main();
} catch (error) {
  const violations = fieldViolations(error);
  if (violations.length === 0) console.error(`error: ${error.details ?? error.message}`);
  for (const { field, description } of violations) console.error(`error: ${field}: ${description}`);
  process.exitCode = 1;
}
