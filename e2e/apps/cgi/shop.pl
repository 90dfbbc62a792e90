#!/usr/bin/perl
# A small shop that fails on request. What it writes to standard error, Apache puts into its error log.
use strict;
use warnings FATAL => 'numeric';

read STDIN, my $body, $ENV{CONTENT_LENGTH} || 0;
my %form = map { split /=/, $_, 2 } split /&/, $body;
my ($kind, $ref) = ($form{kind} // '', $form{ref} // '');
select undef, undef, undef, 0.005 + rand 0.02;
if ($ENV{REQUEST_URI} =~ m{^/old/}) {
    print "Status: 404\nContent-Type: text/plain\n\n";
    exit;
}
die "Order $ref is already closed" if $kind eq 'boom';
die "Payment for basket $ref was refused: payment gateway closed the connection" if $kind eq 'nested';
my $total = $kind eq 'type' ? $ref + 1 : 1;
print STDERR "Invoice $ref could not be written: disk quota exceeded\n" if $kind eq 'handled';
print STDERR "Cart $ref has no owner\n" if $kind eq 'brief';
print "Content-Type: text/plain\n\nThank you.\n";
