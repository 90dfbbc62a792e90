// A small shop that fails on request, with morgan's access lines and Express's own error handler.
const express = require('express')
const morgan = require('morgan')

class StockError extends Error {
  name = 'StockError'
}

const app = express()
app.use(morgan('combined'))
app.use(express.urlencoded({ extended: false }))
app.get(/^\/old/, (req, res) => res.sendStatus(404))
app.all(/.*/, async (req, res) => {
  const { kind, ref } = req.body ?? {}
  await new Promise(done => setTimeout(done, 5 + Math.random() * 20))
  switch (kind) {
    case 'boom': throw new StockError(`Order ${ref} is already closed`)
    case 'nested': pay(ref); break
    case 'type': JSON.parse(ref); break
    case 'sql': throw new StockError(`bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '${ref}'\n\n ORDER BY total]`)
    case 'handled': console.error('Invoice %s could not be written', ref, new Error('disk quota exceeded')); break
    case 'brief': console.error(`Cart ${ref} has no owner`); break
    case 'warn': console.warn(`Voucher ${ref} is expired`); break
    case 'late': setTimeout(() => console.error(new StockError(`Mail for order ${ref} could not be sent`)), 40); break
  }
  res.send('Thank you.')
})

function pay(ref) {
  try {
    throw new Error('payment gateway closed the connection')
  } catch (cause) {
    throw new StockError(`Payment for basket ${ref} was refused`, { cause })
  }
}

setInterval(() => console.error(new StockError(`nightly-sync failed for warehouse ${Math.ceil(Math.random() * 99)}`)), 300)
app.listen(Number(process.argv[3]), process.argv[2])
