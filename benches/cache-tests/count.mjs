// Counts results of http-tests/cache-tests in the suite's own way, for run. Arguments: the folder of the suite, and files
// with results.
import fs from 'fs'
import path from 'path'

const suite = path.resolve(process.argv[2])
const { determineTestResult, resultTypes } = await import(path.join(suite, 'test-engine/lib/results.mjs'))
const { default: suites } = await import(path.join(suite, 'tests/index.mjs'))
const nameOf = type => Object.keys(resultTypes).find(name => resultTypes[name] === type)

const counted = process.argv.slice(3).map(file => {
  const results = JSON.parse(fs.readFileSync(file))
  const counts = {}
  const lost = []
  for (const test of suites.flatMap(one => one.tests)) {
    // Those of private caches.
    if (test.browser_only) continue
    const kind = (test.cdn_only ? 'cdn ' : '') + (test.kind ?? 'required')
    const outcome = nameOf(determineTestResult(suites, test.id, results))
    counts[kind] ??= { all: 0 }
    counts[kind].all += 1
    counts[kind][outcome] = (counts[kind][outcome] ?? 0) + 1
    if (!kind.endsWith('check') && outcome !== 'pass') {
      lost.push({ id: test.id, kind, outcome, why: results[test.id]?.[1] ?? '' })
    }
  }
  return { file, counts, lost }
})
console.log(JSON.stringify(counted))
