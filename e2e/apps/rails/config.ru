# A small shop that fails on request, with the logging of a production.rb as Rails generates it.
require "action_controller/railtie"

class Shop < Rails::Application
  config.root = ENV.fetch("SHOP_ROOT")
  config.eager_load = false
  config.consider_all_requests_local = false
  config.secret_key_base = "only here"
  config.hosts.clear
  config.log_level = :info
  config.log_tags = [:request_id]
  config.log_formatter = ::Logger::Formatter.new
  config.logger = ActiveSupport::TaggedLogging.new(
    ActiveSupport::Logger.new(File.join(ENV.fetch("SHOP_LOGS"), "production.log")).tap { |l| l.formatter = config.log_formatter })
end

class StockError < StandardError; end

class ShopController < ActionController::Base
  def act
    ref = params[:ref]
    sleep rand(0.005..0.025)
    case params[:kind]
    when "boom" then raise StockError, "Order #{ref} is already closed"
    when "nested" then pay ref
    when "type" then Integer(ref)
    when "sql" then raise StockError, "bad SQL grammar [SELECT id, total\n  FROM orders\n WHERE ref = '#{ref}'\n\n ORDER BY total]"
    when "handled", "brief" then logger.error "Invoice #{ref} could not be written: disk quota exceeded"
    when "warn" then logger.warn "Voucher #{ref} is expired"
    end
    render plain: "Thank you."
  end

  def old = head(:not_found)

  private

  def pay(ref)
    raise IOError, "payment gateway closed the connection"
  rescue IOError
    raise StockError, "Payment for basket #{ref} was refused"
  end
end

Rails.application.initialize!
Rails.application.routes.draw do
  get "old/*path", to: "shop#old"
  match "*path", to: "shop#act", via: :all
end
Thread.new do
  loop do
    sleep 0.3
    Rails.logger.error "nightly-sync failed for warehouse #{rand(1..99)}"
  end
end
run Rails.application
