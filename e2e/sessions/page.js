// What an app's owners put into their pages: the tracker of npm, started with the token in a header.
(function () {
  var exports = {}, module = { exports: exports };
  (function (exports, module) {
/* the build */
  })(exports, module);
  var tracker = new exports.default({
    projectKey: "shop", ingestPoint: new URL("%INGEST%", location.href).href, __DISABLE_SECURE_MODE: true,
    network: { sessionTokenHeader: true, capturePayload: false }
  });
  addEventListener("DOMContentLoaded", function () {
    tracker.start()
      .then(function (started) { if (!started.success) throw started.reason; return %CALLS% && fetch("/status"); })
      .then(function () { window.ready = true; }, function (reason) { document.title = "tracker: " + reason; });
  });
})();
