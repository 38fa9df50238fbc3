"""Model updates: fetch, verify, self-test, switch, roll back.

Promise: a model guides only after its signature, hashes and self-test passed, and while nobody walks; the previous one
stays until the new one has run. `machine` decides (pure); `updater` carries out.
"""
