# A small shop that fails on request, with Sinatra's own logging.
require "logger"
require "sinatra"

set :environment, :production
enable :logging

class StockError < StandardError; end

helpers do
  def pay(ref)
    raise IOError, "payment gateway closed the connection"
  rescue IOError
    raise StockError, "Payment for basket #{ref} was refused"
  end
end

get("/old/*") { 404 }

%i[get post].each do |verb|
  send verb, "/*" do
    ref = params["ref"]
    sleep rand(0.005..0.025)
    case params["kind"]
    when "boom" then raise StockError, "Order #{ref} is already closed"
    when "nested" then pay ref
    when "type" then total_of ref # there is no such method; the message shows the whole request, secrets and all
    when "sql" then raise StockError, "bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '#{ref}'\n\n ORDER BY total]"
    when "handled", "brief" then logger.error "Invoice #{ref} could not be written: disk quota exceeded"
    when "warn" then logger.warn "Voucher #{ref} is expired"
    end
    "Thank you."
  end
end

jobs = Logger.new($stderr)
Thread.new do
  loop do
    sleep 0.3
    jobs.error "nightly-sync failed for warehouse #{rand(1..99)}"
  end
end
run Sinatra::Application
