// Sends events from a page in Chromium, with the client's own library, to a server of another
// origin, and prints what the page sent and what went wrong.
//
// Usage: node browser.mjs URL WRITE_KEY COUNT (standard|batching|jitsu)
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { chromium } from 'playwright-core'

const [url, writeKey, count, mode] = process.argv.slice(2)
const packages = new URL('./node_modules/', import.meta.url)
const libraries = {
  '/analytics-next/bundles/': '@segment/analytics-next/dist/umd/',
  '/jitsu/': '@jitsu/js/dist/',
}

// The page and the library lie on one origin, the server that takes the events is another.
const site = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost')
  const folder = Object.keys(libraries).find((prefix) => pathname.startsWith(prefix))
  if (folder) {
    const file = new URL(libraries[folder] + basename(pathname), packages)
    const text = await readFile(file).catch(() => undefined)
    response.writeHead(text ? 200 : 404, { 'content-type': 'text/javascript; charset=utf-8' }).end(text)
    return
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
  response.end('<!doctype html><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>')
})
await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${site.address().port}`

const errors = []
const sent = {}
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--no-proxy-server'],
})
const page = await browser.newPage()
page.on('pageerror', (error) => errors.push(String(error)))
page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
page.on('requestfailed', (request) => errors.push(`${request.url()}: ${request.failure().errorText}`))

// Each event counts once its request was answered with 200.
const answered = new Promise((resolve) => {
  page.on('requestfinished', async (request) => {
    if (request.method() !== 'POST' || !request.url().startsWith(url)) return
    const response = await request.response()
    if (response.status() !== 200) errors.push(`${request.url()}: ${response.status()}`)
    const body = JSON.parse(request.postData())
    for (const event of body.batch ?? [body]) sent[event.messageId] = event.type
    if (errors.length || Object.keys(sent).length >= Number(count)) resolve()
  })
})

await page.goto(`${origin}/shop?utm_source=test`)
if (mode !== 'jitsu') {
  // Where the library looks for its own further parts.
  await page.evaluate((cdn) => { window.analytics = { _cdn: cdn } }, origin)
  await page.addScriptTag({ url: `${origin}/analytics-next/bundles/index.js` })
}
await page.evaluate(async ({ url, writeKey, count, mode }) => {
  let analytics
  if (mode === 'jitsu') {
    // Its keys have two parts; Flowstate's is the first.
    const { jitsuAnalytics } = await import('/jitsu/jitsu.es.js')
    analytics = jitsuAnalytics({ host: url, writeKey: `${writeKey}:secret` })
  } else {
    const strategy = mode === 'batching' ? { strategy: 'batching', config: { size: 10, timeout: 500 } } : undefined
    const integrations = { 'Segment.io': strategy ? { deliveryStrategy: strategy } : {} }
    // Its settings, the host to send to among them, come from the server.
    ;[analytics] = await window.AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL: url }, { integrations })
  }
  for (let number = 0; number < count; number++) {
    const properties = { number, price: number / 4, note: 'naïve ☕', list: [1, { a: null }] }
    const traits = { email: `user-${number}@example.com`, plan: 'pro', seats: number }
    const calls = [
      () => analytics.track('Order Completed', properties),
      () => analytics.identify(`user-${number}`, traits),
      () => analytics.page('Docs', 'Start', properties),
      () => analytics.group(`group-${number}`, traits),
      () => analytics.screen('App', 'Home', properties),
      () => analytics.alias(`user-${number}`, `visitor-${number}`),
    ]
    // Jitsu's library knows four kinds, and takes a page without a category.
    if (mode === 'jitsu') calls.splice(2, 4, () => analytics.page('Start', properties), calls[3])
    await calls[number % calls.length]()
  }
}, { url, writeKey, count: Number(count), mode }).catch((error) => errors.push(String(error)))
if (!errors.length) await answered
await browser.close()
site.close()
console.log(JSON.stringify({ sent, errors }))
