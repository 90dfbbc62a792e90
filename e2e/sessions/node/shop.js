// A small shop with express-session. What fails is logged with the request's ID, and the visitor gets a page that says sorry.
'use strict'
const express = require('express')
const session = require('express-session')

const [host, port] = process.argv[2].split(':')
const app = express()
app.use(express.static(process.argv[3]))
app.get('/status', (req, res) => res.set('Cache-Control', 'no-store').send('up'))
app.use(session({ secret: 'shop', resave: false, saveUninitialized: true }))
app.use(express.urlencoded({ extended: false }))

const fails = (req, res) => {
  const ref = (req.body && req.body.ref) || req.query.ref
  throw new Error(`Request ${req.get('X-Request-ID')}: ${ref} could not be served`)
}
app.post('/order', fails)
app.get('/report', fails)
app.get('/chart', fails)
app.post('/mail', (req, res) => {
  setTimeout(() => console.error(new Error(`Mail of session ${req.sessionID} could not be sent: ${req.body.ref}`)), 500)
  res.status(202).send('It is on its way.')
})
app.post('/login', (req, res, next) => req.session.regenerate(err => {
  if (err) return next(err)
  req.session.user = req.body.user
  res.redirect('/')
}))
app.post('/logout', (req, res, next) => req.session.regenerate(err => err ? next(err) : res.redirect('/')))
app.get('/', (req, res) => {
  const user = req.session.user && req.session.user.replace(/[<>&]/g, '')
  res.send(`<!doctype html>
<html><head><title>Shop</title><script src="/page.js"></script></head><body>
<h1>Shop</h1>
${user
    ? `<p id="user">${user}</p><form id="logout" method="post" action="/logout"><button>Log out</button></form>`
    : '<form id="login" method="post" action="/login"><input name="user"><button>Log in</button></form>'}
<form id="order" method="post" action="/order"><input name="ref"><button>Order</button></form>
<form id="report" method="get" action="/report"><input name="ref"><button>Report</button></form>
</body></html>`)
})
app.use((err, req, res, next) => {
  console.error(err)
  res.status(500).send('<!doctype html><title>Sorry</title><h1>We are sorry.</h1>')
})
app.listen(Number(port), host)
