// Asks the bridge as Elastic's own client does: node client.mjs URL ID:KEY SESSION. Prints what it saw as JSON.
import { Client } from '@elastic/elasticsearch';

const [node, key, session] = process.argv.slice(2);
const [id, apiKey] = key.split(':');
const client = new Client({ node, auth: { apiKey: { id, api_key: apiKey } }, maxRetries: 0 });
const stranger = new Client({ node, maxRetries: 0 });

const failure = (call) => call.then(() => 'no error', (e) => `${e.statusCode} ${e.body?.error?.type}`);

const search = await client.search({
  index: 'logs',
  size: 1000,
  track_total_hits: true,
  query: { match_phrase: { message: `openReplaySession.id=${session}` } },
});

console.log(JSON.stringify({
  version: (await client.info()).version.number,
  ping: await client.ping(),
  total: search.hits.total.value,
  ids: search.hits.hits.map((h) => h._id),
  level: search.hits.hits[0]._source.level,
  withoutKey: await failure(stranger.search({ index: 'logs' })),
  otherCall: await failure(client.indices.create({ index: 'mine' })),
  otherQuery: await failure(client.search({ index: 'logs', query: { match: { message: 'x' } } })),
}));
