// A small shop that fails on request, with Fastify's own logging.
const app = require('fastify')({ logger: true })

class StockError extends Error {
  name = 'StockError'
}

app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' },
  (req, body, done) => done(null, Object.fromEntries(new URLSearchParams(body))))

app.get('/old/*', (req, reply) => reply.code(404).send())
app.all('/*', async req => {
  const { kind, ref } = req.body ?? {}
  await new Promise(done => setTimeout(done, 5 + Math.random() * 20))
  switch (kind) {
    case 'boom': throw new StockError(`Order ${ref} is already closed`)
    case 'nested': pay(ref); break
    case 'type': JSON.parse(ref); break
    case 'sql': throw new StockError(`bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '${ref}'\n\n ORDER BY total]`)
    case 'handled': req.log.error(new Error('disk quota exceeded'), `Invoice ${ref} could not be written`); break
    case 'brief': req.log.error(`Cart ${ref} has no owner`); break
    case 'warn': req.log.warn(`Voucher ${ref} is expired`); break
    case 'late': setTimeout(() => req.log.error(new StockError(`Mail for order ${ref} could not be sent`)), 40); break
  }
  return 'Thank you.'
})

function pay(ref) {
  try {
    throw new Error('payment gateway closed the connection')
  } catch (cause) {
    throw new StockError(`Payment for basket ${ref} was refused`, { cause })
  }
}

setInterval(() => app.log.error(`nightly-sync failed for warehouse ${Math.ceil(Math.random() * 99)}`), 300)
app.listen({ host: process.argv[2], port: Number(process.argv[3]) })
