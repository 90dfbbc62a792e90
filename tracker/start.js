(function () {
  "use strict";
  var settings = {/* settings */};
  if (window.__openreplayLogSidecar) return;
  window.__openreplayLogSidecar = true;
  var exports = {}, module = { exports: exports };
  (function (exports, module) {
/* the build */
  })(exports, module);

  var ingest = settings.ingest.charAt(0) === "/" ? location.origin + settings.ingest : settings.ingest;
  var tracker = null;

  function consents() {
    if (!settings.consent) return true;
    return document.cookie.split(/;\s*/).some(function (pair) {
      return pair === settings.consent || settings.consent.indexOf("=") < 0 && pair.indexOf(settings.consent + "=") === 0;
    });
  }

  // A policy that stands in the page and not in its head may forbid what the tracker needs; then it stays out.
  function forbidden() { return document.querySelector('meta[http-equiv="content-security-policy" i]') !== null; }

  function ours(address) {
    try { return new URL(address, location.href).origin === location.origin; } catch (e) { return false; }
  }

  // Made at once, so that calls of later pages carry the token from the beginning.
  function make() {
    tracker = new exports.default({
      projectKey: settings.projectKey,
      ingestPoint: ingest,
      __DISABLE_SECURE_MODE: location.protocol === "http:",
      respectDoNotTrack: true,
      defaultInputMode: 1, // obscured
      obscureInputEmails: true,
      obscureInputNumbers: true,
      obscureInputDates: true,
      obscureTextEmails: true,
      obscureTextNumbers: false,
      network: { sessionTokenHeader: settings.header, tokenUrlMatcher: ours, capturePayload: false }
    });
  }

  function begin() {
    if (forbidden()) return;
    if (!tracker) make();
    tracker.start().catch(function () {});
  }

  function whenBodyIsThere(then) {
    if (document.body) return then();
    var observer = new MutationObserver(function () {
      if (document.body) { observer.disconnect(); then(); }
    });
    observer.observe(document.documentElement, { childList: true });
  }

  if (consents()) {
    make();
    whenBodyIsThere(begin);
    return;
  }
  // The app asks for consent in its own way; what counts is the cookie in which it keeps the answer.
  var asking = setInterval(function () {
    if (!consents()) return;
    clearInterval(asking);
    whenBodyIsThere(begin);
  }, 1000);
})();
