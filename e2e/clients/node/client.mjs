// Writes, reads and tails with Google's Node.js client, and prints what it saw
// as one JSON object. Arguments: the stand-in's port and the project.
import { Logging } from '@google-cloud/logging'
import { createRequire } from 'node:module'

// The client's own copy of gRPC: it takes no other's credentials.
const gax = createRequire(createRequire(import.meta.url).resolve('@google-cloud/logging'))
const { grpc } = gax('google-gax')

const [port, projectId] = process.argv.slice(2)
const logging = new Logging({
  projectId,
  servicePath: '127.0.0.1',
  port: Number(port),
  sslCreds: grpc.credentials.createInsecure(),
})
const log = logging.log('node')
const resource = { type: 'global' }
const error = (message) => log.entry({ resource, severity: 'ERROR', labels: { openReplaySessionToken: 'jw4w.3az.lrra.ovJ2' } }, { message })

const seen = {}

for (let i = 0; i < 3; i++) await log.write(error(`error ${i}`))
await log.write(log.entry({ resource, severity: 'INFO' }, 'an aside'))

const filter = 'log_id("node") AND severity>=ERROR AND labels.openReplaySessionToken:*'
const [entries] = await log.getEntries({ filter, orderBy: 'timestamp asc' })
seen.read = entries.map((e) => e.data.message)

try {
  await logging.getEntries({ filter: 'severity>=' })
} catch (e) {
  seen.refused = e.message
}

// The session follows only what is written after it was opened, so probes go
// out until one comes back. The last one must be in before the log is deleted.
let probes
seen.tailed = await new Promise((resolve, reject) => {
  const stream = logging.tailEntries({ filter: 'jsonPayload.message:probe' })
  stream.on('error', reject)
  let open = true
  stream.on('data', (answer) => {
    open = false
    stream.end()
    resolve(answer.entries[0].data.message.replace(/\d+/, 'N'))
  })
  probes = (async () => {
    for (let i = 0; open; i++) await log.write(error(`probe ${i}`))
  })()
  probes.catch(reject)
})
await probes

await log.delete()
const [left] = await logging.getEntries({ filter: 'log_id("node")' })
seen.left = left.length

console.log(JSON.stringify(seen))
process.exit(0)
